#!/bin/sh
# nginx and tini with all that they load, in one folder that runs on any distribution: bundle.sh FOLDER.
set -eu
to=$1
module=/usr/lib/nginx/modules/ngx_http_js_module.so
mkdir -p "$to/lib"
cp /usr/bin/tini-static "$to/tini"
cp /usr/sbin/nginx "$to/nginx.bin"
cp "$module" "$to/lib/"
# Each library that ldd finds, under the name it is asked for; the loader among them.
ldd /usr/sbin/nginx "$module" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ :]*\) (.*/\1/p' | sort -u |
  while read -r library; do cp -L "$library" "$to/lib/"; done
loader=$(basename "$(ldd /usr/sbin/nginx | sed -n 's/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p')")
printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "$to/lib/$loader" "$to/lib" "$to/nginx.bin" >"$to/nginx"
chmod -R a+rX "$to"
chmod 0755 "$to/nginx" "$to/tini"
"$to/nginx" -v
