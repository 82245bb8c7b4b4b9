#!/bin/sh
# Make an environment small: slim.sh FOLDER. Build tools, symbols, sources, stubs and tests go; what is not pycalc's own
# stays as bytecode only, so a traceback names file and line but does not quote them.
set -eu
environment=$1
packages=$(echo "$environment"/lib/python3*/site-packages)

"$environment/bin/python" -m pip uninstall --quiet --yes hatchling pathspec pluggy trove-classifiers
find "$environment/bin" -type f ! -name pycalc -delete
for sources in pyi pyx pxd pxi c cc cpp h hpp proto; do
    find "$packages" -type f -name "*.$sources" -delete
done
find "$packages" -type d \( -name tests -o -name testing -o -name _testbase \) -prune -exec rm -r {} +
find "$packages" -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} +
rm -r "$packages"/pip "$packages"/pip-*
"$environment/bin/python" -m compileall -q -b -x "^$packages/pycalc/" "$packages"
find "$packages" -name '*.py' ! -path "$packages/pycalc/*" -delete
