# Sourced by the other scripts, from the project's root: puts a Node.js that can run this project first on PATH.
# Node 24 runs TypeScript as it is and is the first release on which node-pty loses no output.
# Where the machine's own is older, 24 comes from the npm registry into .node/ (git-ignored).
if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 24 ? 0 : 1)' 2>/dev/null; then
  node_os=$(uname -s | tr '[:upper:]' '[:lower:]')
  case $(uname -m) in
    x86_64 | amd64) node_arch=x64 ;;
    aarch64 | arm64) node_arch=arm64 ;;
    *)
      echo "vmo: Node 24 or newer is needed, and there is no ready one for $(uname -m): please install it." >&2
      exit 1
      ;;
  esac
  node_home=.node/node_modules/node-$node_os-$node_arch
  if [ ! -x "$node_home/bin/node" ]; then
    if ! command -v npm >/dev/null 2>&1; then
      echo "vmo: neither Node 24 nor npm is on this machine: please install Node (https://nodejs.org)." >&2
      exit 1
    fi
    echo "vmo: fetching Node 24 into .node/ (this machine has $(node -v 2>/dev/null || echo none)) …" >&2
    # Into a folder of its own, then renamed: a start that is interrupted, or two at once, never leave half a Node.
    node_fetch=$(mktemp -d "$PWD/.node-fetch.XXXXXX")
    echo '{ "private": true }' >"$node_fetch/package.json"
    if ! (
      # A start with `npm --prefix` or `npm -w` hands these down; they would send the install elsewhere.
      unset npm_config_prefix npm_config_local_prefix npm_config_global npm_config_workspace npm_config_workspaces
      cd "$node_fetch" && npm install --no-save --no-audit --no-fund --loglevel=error \
        --install-strategy=hoisted "node-$node_os-$node_arch@24" >npm.log 2>&1
    ); then
      cat "$node_fetch/npm.log" >&2
      rm -rf "$node_fetch"
      echo "vmo: could not fetch Node 24 from the npm registry (its words are above)." >&2
      exit 1
    fi
    rm -f "$node_fetch/npm.log"
    [ -x "$node_home/bin/node" ] || rm -rf .node
    # Where another start was faster, mv would put ours inside of theirs.
    [ -e .node ] || mv "$node_fetch" .node 2>/dev/null || true
    rm -rf "$node_fetch" ".node/${node_fetch##*/}"
  fi
  PATH=$PWD/$node_home/bin:$PATH
  export PATH
fi
