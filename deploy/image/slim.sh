#!/bin/sh
# Make an environment small: slim.sh FOLDER. Build tools, symbols and stubs go; what is not pycalc's own stays as
# bytecode only, so a traceback names file and line but does not quote them.
set -eu
environment=$1
packages=$(echo "$environment"/lib/python3*/site-packages)

"$environment/bin/python" -m pip uninstall --quiet --yes hatchling pathspec pluggy trove-classifiers
find "$environment/bin" -type f ! -name pycalc -delete
find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete
find "$packages" -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} +
rm -r "$packages"/pip "$packages"/pip-*
"$environment/bin/python" -m compileall -q -b -x "^$packages/pycalc/" "$packages"
find "$packages" -name '*.py' ! -path "$packages/pycalc/*" -delete
