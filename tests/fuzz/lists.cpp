// SPDX-License-Identifier: BSL-1.0
//
// Lists of extensions and of subprotocols against a reader that follows the grammar literally (RFC 6455 section 9.1,
// RFC 9110 section 5.6). Input: up to four lines of the field.
#include "targets.hpp"

#include "proto/extension.hpp"
#include "proto/handshake.hpp"

#include <vector>

namespace wring::fuzz {
namespace {

using namespace proto;

// extension-list = 1#extension, extension = token *( ";" token [ "=" ( token / quoted-string ) ] )
class grammar
{
public:
    explicit grammar(std::string_view text) noexcept : rest_(text) {}

    [[nodiscard]] bool list()
    {
        for (;;) {
            blanks();
            if (!rest_.empty() && rest_.front() != ',' && !extension()) return false;
            blanks();
            if (rest_.empty()) return true;
            if (!take(',')) return false;
        }
    }

private:
    bool extension()
    {
        if (!token()) return false;
        for (;;) {
            blanks();
            if (!take(';')) return true;
            blanks();
            if (!token()) return false;
            blanks();
            if (!take('=')) continue;
            blanks();
            if (take('"') ? !quoted() : !token()) return false;
        }
    }
    bool token()
    {
        auto const before = rest_.size();
        while (!rest_.empty() && is_token(rest_.substr(0, 1)))
            rest_.remove_prefix(1);
        return rest_.size() < before;
    }
    // The content is a token once its escapes are undone.
    bool quoted()
    {
        for (bool empty = true;; empty = false) {
            if (take('"')) return !empty;
            take('\\');
            if (rest_.empty() || !is_token(rest_.substr(0, 1))) return false;
            rest_.remove_prefix(1);
        }
    }
    void blanks()
    {
        while (take(' ') || take('\t')) {
        }
    }
    bool take(char c)
    {
        bool const there = rest_.starts_with(c);
        if (there) rest_.remove_prefix(1);
        return there;
    }

    std::string_view rest_;
};

} // namespace

void fuzz_lists(input in)
{
    auto text = as_text(in);
    std::string extensions, protocols;
    for (int lines = 0; lines < 4; ++lines) {
        auto line = text.substr(0, text.find('\n'));
        if (!is_field_value(line)) return;
        extensions += "Sec-WebSocket-Extensions:" + std::string(line) + "\r\n";
        protocols += "sec-websocket-protocol: " + std::string(line) + "\r\n";
        if (line.size() == text.size()) break;
        text.remove_prefix(line.size() + 1);
    }
    field_range const fields{extensions};
    bool sound = true; // each line is a list of its own: a quoted string does not go on in the next
    for (auto const& f : fields)
        sound = sound && grammar(f.value).list();
    require(valid_extensions(fields) == sound, "the reader agrees with the grammar");

    std::size_t steps = 0;
    fields.each_element("Sec-WebSocket-Extensions", [&](std::string_view element) {
        extension_reader reader(element);
        extension_parameter p;
        for (++steps; reader.next(p); ++steps)
            require(is_token(p.name) && (!p.value || !p.value->empty()), "parameters are tokens");
        return true;
    });
    require(steps <= extensions.size(), "no more steps than bytes");

    request_head head;
    head.fields = field_range{protocols};
    auto const choice = choose_subprotocol(head, "b, a, superchat");
    std::vector<std::string_view> names;
    errc expected = errc::ok;
    for (auto const& f : head.fields)
        for (auto const name : list_range{f.value}) {
            if (expected != errc::ok) continue;
            if (!is_token(name))
                expected = errc::subprotocol_invalid;
            else if (std::find(names.begin(), names.end(), name) != names.end())
                expected = errc::subprotocol_duplicate;
            else if (names.size() == 64)
                expected = errc::subprotocol_excess;
            names.push_back(name);
        }
    require(choice.error == expected, "an offer is judged name by name");
    if (expected != errc::ok) return require(choice.name.empty(), "a bad offer gets nothing");
    std::string_view best;
    for (std::string_view name : {"superchat", "a", "b"})
        if (std::find(names.begin(), names.end(), name) != names.end()) best = name;
    require(choice.name == best, "the server's order decides");
}

} // namespace wring::fuzz
