#!/bin/sh
# The bridge with the Node it was tested with. On this machine the service's configuration is the one meant, for
# those who may read it; LIMB_CONFIG or --config name another.
if [ -z "${LIMB_CONFIG-}" ] && [ -r /etc/limb-bridge/limb-bridge.yaml ]; then
  export LIMB_CONFIG=/etc/limb-bridge/limb-bridge.yaml
fi
: "${MALLOC_TRIM_THRESHOLD_:=131072}" # As in limb-bridge.service.
export MALLOC_TRIM_THRESHOLD_
exec /usr/lib/limb-bridge/bin/node /usr/lib/limb-bridge/dist/main.js "$@"
