#!/usr/bin/env bash
# A Slurm of two nodes (slurmctld, two slurmd, munge, PMIx) on this one machine. Needs root.
#
#   two_nodes.sh start DIR    prints where slurm.conf is
#   two_nodes.sh stop DIR
#
# Each slurmd has a TmpFS of its own, or the folders of PMIx would collide.
set -euo pipefail
action=${1:?start or stop} dir=${2:?a folder for state and logs}

write_configuration() {
  local host=$1
  cat >"$dir/slurm.conf" <<CONF
ClusterName=two-nodes
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
TmpFS=$dir/tmp.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=pmix
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1 RealMemory=1000
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1 RealMemory=1000
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
}

# A munge daemon of our own, with its own key, beside one that may run already.
start_munge() {
  mkdir -p "$dir/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$dir/munge/key")
  chmod 755 "$dir/munge"
  munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/munged.pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
}

start() {
  mkdir -p "$dir"/{state,spool.n1,spool.n2,tmp.n1,tmp.n2}
  dir=$(cd "$dir" && pwd)
  write_configuration "$(hostname -s)"
  start_munge
  export SLURM_CONF=$dir/slurm.conf
  slurmctld
  slurmd -N n1
  slurmd -N n2
  for _ in $(seq 60); do
    [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ] && return
    sleep 1
  done
  echo "the two nodes did not come up; logs are in $dir" >&2
  return 1
}

# Returns when the daemons have ended: until then they write into the folder, which cannot be removed.
stop() {
  local pid file
  for file in "$dir"/slurmd.*.pid "$dir"/slurmctld.pid "$dir"/munge/munged.pid; do
    if [ -s "$file" ]; then
      pid=$(cat "$file")
      kill "$pid" 2>/dev/null && timeout 30 tail --pid="$pid" -f /dev/null || true
    fi
  done
}

case $action in
  start)
    start >&2
    echo "$dir/slurm.conf"
    ;;
  stop) stop ;;
  *)
    echo "usage: two_nodes.sh start|stop DIR" >&2
    exit 64
    ;;
esac
