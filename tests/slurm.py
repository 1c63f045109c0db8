"""A real Slurm of one machine, in a folder of its own, for as long as the tests need it.

python -m tests.slurm FOLDER -- COMMAND [ARGUMENT...]      runs a command with it, then ends it

It starts munged, slurmctld and slurmd on loopback and ends exactly these. No accounting, no cgroups; it must run as root.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
ReturnToService=2
KillWait=20
JobRequeue=1
InactiveLimit=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def missing() -> str:
    """Why there is no Slurm to be had here; empty where there is."""
    lacking = [name for name in PROGRAMS if _found(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (Debian: apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons of this test need root"


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands reach it; raises RuntimeError where it does not start."""
    folder = folder.absolute()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(folder=folder, host=host, ctld_port=ports[0], slurmd_port=ports[1], cpus=os.cpu_count())
    )
    if Path(
        "/sys/fs/cgroup/cgroup.controllers"
    ).exists():  # a container of this kind has no D-Bus for the other plugin
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = (
        [_found("munged"), "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        [_found("slurmctld"), "-D", "-f", str(conf)],
        [_found("slurmd"), "-D", "-f", str(conf), "-N", host],
    )
    started: list[subprocess.Popen] = []
    try:
        for command in commands:
            with (folder / f"{Path(command[0]).name}.out").open("w") as output:
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            time.sleep(0.5)
        _wait_until_idle(environment, folder, started)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _wait_until_idle(
    environment: dict[str, str], folder: Path, started: list[subprocess.Popen], seconds: float = 60
) -> None:
    ends, said = time.monotonic() + seconds, ""
    while time.monotonic() < ends and all(process.poll() is None for process in started):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        said = done.stdout.strip() or done.stderr.strip()
        if said == "idle":
            return
        time.sleep(0.3)
    logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(folder.glob("*.out")))
    raise RuntimeError(f"Slurm did not start: {said}\n{logs}")


if __name__ == "__main__":
    place = sys.argv.index("--")
    with cluster(Path(sys.argv[1])) as surroundings:
        sys.exit(subprocess.run(sys.argv[place + 1 :], env=surroundings).returncode)
