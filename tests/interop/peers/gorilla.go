// SPDX-License-Identifier: BSL-1.0

// Peer: Go with github.com/gorilla/websocket.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

func messageOf(kind string, size int) (int, []byte) {
	if kind == "t" {
		text := strings.Repeat("aé世🌍", size/10)
		return websocket.TextMessage, []byte(text + strings.Repeat("x", size-len(text)))
	}
	data := make([]byte, size)
	state := uint32(1)
	for at := range data {
		state = state*1103515245 + 12345
		data[at] = byte(state >> 28)
	}
	return websocket.BinaryMessage, data
}

// Its writer sends a frame whenever its buffer is full, of a larger message at once where it is written at once.
func send(ws *websocket.Conn, kind int, data []byte, pieces int) error {
	if pieces == 1 {
		return ws.WriteMessage(kind, data)
	}
	writer, err := ws.NextWriter(kind)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := len(data)
		if n > 1000 {
			n = 1000
		}
		if _, err := writer.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return writer.Close()
}

func connect(url string, words []string) error {
	dialer := websocket.Dialer{HandshakeTimeout: 20 * time.Second, WriteBufferSize: 4096}
	for _, word := range words {
		dialer.EnableCompression = dialer.EnableCompression || word == "deflate"
	}
	ws, _, err := dialer.Dial(url, nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	for _, word := range words {
		what := strings.SplitN(word, ":", 2)
		if len(what) < 2 {
			continue
		}
		size, _ := strconv.Atoi(what[1])
		pieces := 1
		if what[0] != strings.ToLower(what[0]) {
			pieces = 3
		}
		kind, data := messageOf(strings.ToLower(what[0]), size)
		if err := send(ws, kind, data, pieces); err != nil {
			return err
		}
		gotKind, got, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		if gotKind != kind || !bytes.Equal(got, data) {
			return fmt.Errorf("%s came back different", word)
		}
	}
	ending := words[len(words)-1]
	wanted := map[string]string{"close": "1000 'bye' or 1000 ''", "asked": "4001 'as asked'", "left": "1001 ''"}[ending]
	switch ending {
	case "close":
		bye := websocket.FormatCloseMessage(1000, "bye")
		if err := ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)); err != nil {
			return err
		}
	case "asked":
		if err := ws.WriteMessage(websocket.TextMessage, []byte("close, please")); err != nil {
			return err
		}
	case "left":
		fmt.Println("waiting")
	}
	_, _, err = ws.ReadMessage()
	closed, is := err.(*websocket.CloseError)
	if !is {
		return fmt.Errorf("no close: %v", err)
	}
	if how := fmt.Sprintf("%d '%s'", closed.Code, closed.Text); !strings.Contains(wanted, how) {
		return fmt.Errorf("closed with %s", how)
	}
	return nil
}

func echo(response http.ResponseWriter, request *http.Request) {
	upgrader := websocket.Upgrader{EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if string(data) == "close, please" {
			bye := websocket.FormatCloseMessage(4001, "as asked")
			_ = ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
			continue
		}
		if ws.WriteMessage(kind, data) != nil {
			return
		}
	}
}

func main() {
	switch os.Args[1] {
	case "version":
		// The library has no constant that tells.
		version, _ := exec.Command("dpkg-query", "-W", "-f", "${Version}", "golang-github-gorilla-websocket-dev").Output()
		fmt.Printf("gorilla %s with %s\n", version, runtime.Version())
	case "serve":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
		panic(http.Serve(listener, http.HandlerFunc(echo)))
	case "connect":
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			words := strings.Fields(lines.Text())
			if err := connect(words[0], words[1:]); err != nil {
				fmt.Println("not ok: " + err.Error())
			} else {
				fmt.Println("ok")
			}
		}
	}
}
