#!/bin/sh
# pytest.sh PYTHON FILE...: runs pytest; 77, "skipped", where there is no such Python.
python=$1
shift
if [ ! -x "$python" ]; then
  echo "skipped: no $python (./test.sh makes it)"
  exit 77
fi
exec "$python" -m pytest -q -rs -p no:cacheprovider "$@"
