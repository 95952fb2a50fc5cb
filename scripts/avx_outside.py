"""Find functions that a processor without AVX could be led into and could not run.

    python scripts/avx_outside.py LIBRARY

LIBRARY is an ELF file of x86-64 with its symbols: the module, or an archive of objects.
Instructions beyond the baseline may stand in the namespaces of their instruction sets alone, whose
only way in is the table that `available_kernels` offers. So neither a copy of an inline function
that the linker kept for everyone, nor a static initialiser that runs at loading, may have them.
The exit status is 1 if one has.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

ALLOWED = re.compile(r"_ZN8bimacosr(?:4(avx2)|6(avx512)|3(amx)|12(amx_bfloat16))")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^ +[0-9a-f]+:\s+(.*)$")
# VEX and EVEX begin with v; tiles, masks, and the bit instructions that came with or after AVX
BEYOND = re.compile(
    r"^(v(?!er[rw]\b)|(andn|bextr|blsi|blsr|blsmsk|bzhi|lzcnt|mulx|pdep|pext|popcnt|sarx|shlx|shrx"
    r"|rorx)\b)|%[yzt]mm|%k[0-7]"
)


def functions_beyond_the_baseline(library: str) -> Counter[str]:
    """How many such instructions each function has; mangled names."""
    listing = subprocess.run(
        ["objdump", "--disassemble", "--no-show-raw-insn", library],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: Counter[str] = Counter()
    function = ""
    for line in listing.splitlines():
        if heading := FUNCTION.match(line):
            function = heading[1]
        elif (instruction := INSTRUCTION.match(line)) and BEYOND.search(instruction[1]):
            found[function] += 1
    return found


def main(library: str) -> None:
    """Print what was found; exit with the list of those that are in the wrong place."""
    found = functions_beyond_the_baseline(library)
    inside: Counter[str] = Counter()
    outside: dict[str, int] = {}
    for name, count in found.items():
        if allowed := ALLOWED.match(name):
            inside[allowed[allowed.lastindex or 0]] += 1
        else:
            outside[name] = count
    if outside:
        lines = "\n".join(f"  {count:5d} in {name}" for name, count in sorted(outside.items()))
        sys.exit(f"instructions beyond the baseline where every processor may come:\n{lines}")
    if len(inside) < 4:
        sys.exit(f"only {sorted(inside)} seen: is {library} stripped, or not of x86-64?")
    print(f"functions beyond the baseline, by their namespace: {dict(sorted(inside.items()))}")


if __name__ == "__main__":
    main(sys.argv[1])
