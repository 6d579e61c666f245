#!/bin/sh
# Brings Chromium for the browser tests where this machine allows it; otherwise says loudly that they will be skipped.
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Chromium for the browser tests ..."
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core) >/tmp/fairshare-chromium.log 2>&1 && exit 0
    echo "Chromium could not be installed; see /tmp/fairshare-chromium.log"
fi
echo "*** no Chromium on this machine: THE BROWSER TESTS WILL BE SKIPPED ***"
exit 0
