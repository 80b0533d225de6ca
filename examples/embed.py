#!/usr/bin/env python3
"""usage: embed.py NAME INPUT OUTPUT: writes a C++ header in which NAME is a string literal with INPUT's text."""
import pathlib
import sys

name, source, target = sys.argv[1:]
text = pathlib.Path(source).read_text()
pathlib.Path(target).write_text(f'#pragma once\n\ninline constexpr char {name}[] = R"embedded({text})embedded";\n')
