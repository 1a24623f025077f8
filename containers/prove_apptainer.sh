# shellcheck shell=bash
# A part of prove.sh: the image as a SIF. Apptainer is in Debian's sid alone, and needs a newer libc
# than Debian 12's: it runs in a root file system of its own, as a user without privileges.
# shellcheck disable=SC2154  # store, cache, image, torch and quick are prove.sh's

node_root=$cache/apptainer-$(date +%G%V).tar
if [ ! -s "$node_root" ]; then
  # shellcheck disable=SC2016  # apt-get's own form
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    awk '$1 !~ /security/ && !mirror {sub("/$", "", $1); mirror = $1} END {print mirror}')
  printf 'Package: *\nPin: release n=sid\nPin-Priority: 50\n\nPackage: apptainer\nPin: release n=sid\nPin-Priority: 990\n' \
    >"$store/pin"
  # shellcheck disable=SC2016  # mmdebstrap's own $1
  if mmdebstrap -q --format=tar --variant=minbase --mode=root \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --setup-hook='mkdir -p "$1/etc/apt/preferences.d"; cp '"$store/pin"' "$1/etc/apt/preferences.d/sid"' \
    --include=apptainer,ca-certificates,fuse-overlayfs,squashfuse trixie "$node_root.part" \
    "deb $mirror trixie main" "deb $mirror sid main" >"$store/said" 2>&1
  then mv "$node_root.part" "$node_root"
  else rm -f "$node_root.part"
  fi
fi

in_node() {  # COMMAND...: in mount and pid namespaces of its own, so nothing stays mounted
  # shellcheck disable=SC2016  # the inner shell's
  unshare --mount --pid --fork --propagation private bash -c '
    root=$1 oci=$2; shift 2
    mount --bind "$root" "$root"; mount -t proc proc "$root/proc"; mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for device in null zero full random urandom tty; do
      touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
    done
    ln -s /proc/self/fd "$root/dev/fd"; ln -s fd/0 "$root/dev/stdin"
    ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"; ln -s pts/ptmx "$root/dev/ptmx"
    mknod -m 666 "$root/dev/fuse" c 10 229
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount --rbind /dev/pts "$root/dev/pts"; mount -t tmpfs shm "$root/dev/shm"
    mount -t tmpfs -o size=8g,mode=1777 tmp "$root/tmp"; mount --bind "$oci" "$root/mnt/oci"
    cd "$root"; mkdir -p .old; pivot_root . .old; umount -l /.old; cd /scratch
    exec setpriv --reuid 4242 --regid 4242 --clear-groups env -i HOME=/home/prover USER=prover \
      PATH=/usr/bin:/bin APPTAINER_CACHEDIR=/tmp/cache APPTAINER_TMPDIR=/tmp "$@"' \
    _ "$node" "$store/oci" "$@"
}

if [ ! -s "$node_root" ]; then
  skip "apptainer: its package cannot be installed here"
else
  node=$store/node
  mkdir -p "$node" "$store/oci"
  tar -C "$node" -xf "$node_root"
  echo 'prover:x:4242:4242::/home/prover:/bin/bash' >>"$node/etc/passwd"
  echo 'prover:x:4242:' >>"$node/etc/group"
  echo 'prover:231072:65536' | tee "$node/etc/subuid" >"$node/etc/subgid"
  install -d -o 4242 -g 4242 "$node/home/prover" "$node/scratch"
  mkdir -p "$node/mnt/oci"
  podman save -q --format oci-dir --uncompressed -o "$store/oci/hsd" "$image" >/dev/null
  chmod -R a+rX "$store/oci"
  say "apptainer: $(in_node apptainer --version)"
  check "apptainer: a SIF from the image, unprivileged" in_node apptainer -q build \
    --mksquashfs-args '-comp zstd -Xcompression-level 1' /scratch/hsd.sif oci:/mnt/oci/hsd
  rm -rf "$store/oci/hsd"
  apptainer() {  # HSD_ARGUMENTS...: what hsd prints for a folder that both sides call /scratch
    local command
    command=$(cd "$node/scratch" && HF_HOME=$node/scratch/hub "$hsd" container command \
      --runtime apptainer --image /scratch/hsd.sif --no-gpus --env OMP_NUM_THREADS=1 -- "$@")
    in_node sh -c "${command//$node\/scratch//scratch}"
  }
  mkdir -p "$node/scratch/hub"
  chown 4242:4242 "$node/scratch/hub"
  check "apptainer: help" has "Usage: hsd" apptainer --help
  check "apptainer: --nv without a GPU still starts" has "Usage: hsd" \
    in_node apptainer -q exec --nv /scratch/hsd.sif hsd --help
  if [ "$torch" = 1 ]; then
    cp -r "$data/tiny" "$node/scratch/tiny"
    chown -R 4242:4242 "$node/scratch/tiny"
    check "apptainer: demo, read-only root, unprivileged" apptainer demo \
      --set model.name=/scratch/tiny "${quick[@]}"
    check "apptainer: the outputs belong to the user" owned "$node/scratch/runs" 4242
  else
    skip "apptainer: demo: without torch"
  fi
fi
