"""The base image of the engines we build ourselves: pulled, or bootstrapped where no registry answers."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from weighbridge.engines import Base
from weighbridge.errors import HostError
from weighbridge.plan import base_reference
from weighbridge.words import many

MIRROR_VARIABLE = "WEIGHBRIDGE_DEBIAN_MIRROR"
LABEL = "io.weighbridge.base"
SILENCE_SECONDS = 20  # a registry that said nothing for so long does not answer
PULL_SECONDS = 600
CLEANUP_SECONDS = 20
ROOM_BYTES = 1 << 30
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# copyright files stay: whoever passes the image on must pass them on too.
EXCLUDED = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
)
# What apt was told on this machine (mirror, proxy) is not for the image.
FORGET = "/etc/apt/apt.conf.d/99mmdebstrap /etc/apt/sources.list /etc/apt/sources.list.d/*"
# usrmerge, the first alternative apt takes, brings 47 MB of perl; the other one brings nothing.
# Others suggest perl, which keeps it unless apt is told that suggestions do not matter.
NO_PERL = (
    "apt-mark auto '~i?name(perl)' >/dev/null;"
    " apt-get --yes --quiet -o APT::AutoRemove::SuggestsImportant=0 -o APT::AutoRemove::RecommendsImportant=0"
    " purge --auto-remove usrmerge"
)
LEFTOVER = "/var/cache/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/lib/apt/lists/* /var/log/*.log"

Say = Callable[[str], None]


def ensure_base(base: Base, *, mirror: str | None, say: Say) -> str:
    """How the local image of `base` came to be, "pulled" or "bootstrapped"; it is made when it is not there.

    `mirror` is the Debian mirror to use instead of the machine's own.

    Raises HostError when neither a registry nor a Debian mirror answers.
    """
    how = _label(base_reference(base))
    if how:
        return how
    say(f"base image: pulling {base.image}")
    trouble = _pull(base.image)
    if trouble is None:
        say(f"base image: pulled, installing {many(len(base.packages), 'package')}")
        _install(base, mirror)
        how = "pulled"
    else:
        say(f"base image: no registry answers ({trouble}); bootstrapping Debian {base.suite}")
        _bootstrap(base, mirror, trouble, say)
        how = "bootstrapped"
    say(f"base image: {how} as {base_reference(base)}")
    return how


def mirror_lines(suite: str, mirror: str | None = None, sources: Path = Path("/etc/apt")) -> list[str]:
    """This machine's own apt lines for `suite` (main only), or those of `mirror`."""
    if mirror:
        return [f"deb {mirror} {suite} main"]
    found: list[str] = []
    for path in [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        pairs = _stanzas(text) if path.suffix == ".sources" else _one_line_style(text)
        found += [f"deb {uri} {name} main" for uri, name in pairs if name in _suites_of(suite)]
    return list(dict.fromkeys(found))


def suite_of(base: Base) -> str:
    """A base that we make has a suite; one that is published is pulled and never comes here."""
    assert base.suite is not None
    return base.suite


def _suites_of(suite: str) -> tuple[str, ...]:
    return suite, f"{suite}-updates", f"{suite}-security"


def _stanzas(text: str) -> Iterator[tuple[str, str]]:
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n", "", text)):
        fields = dict(re.findall(r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza))
        if "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split():
            yield from ((u, s) for u in fields.get("URIs", "").split() for s in fields.get("Suites", "").split())


def _one_line_style(text: str) -> Iterator[tuple[str, str]]:
    for line in re.findall(r"(?m)^deb\s+(?:\[.*?\]\s+)?(\S+\s+\S+\s.*\bmain\b)", text):
        uri, suite = line.split()[:2]
        yield uri, suite


def _docker(*arguments: str, feed: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], input=feed, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostError("there is no docker command on this machine", "sudo apt-get install docker.io") from None


def _label(reference: str) -> str:
    """How the image was made; empty when there is no such image. Raises HostError without a daemon."""
    asked = _docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', reference)
    if asked.returncode and "no such image" not in asked.stderr.lower():
        raise HostError(f"Docker does not answer: {_last(asked.stderr)}", "sudo systemctl start docker")
    return asked.stdout.strip() if asked.returncode == 0 else ""


def _pull(image: str) -> str | None:
    """None when the image is here now, else why not, in a few words."""
    if _docker("image", "inspect", image).returncode == 0:
        return None
    with subprocess.Popen(["docker", "pull", image], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pull:
        try:
            if not select.select([s for s in (pull.stdout, pull.stderr) if s], [], [], SILENCE_SECONDS)[0]:
                pull.terminate()
                return f"silent for {SILENCE_SECONDS} s"
            _, errors = pull.communicate(timeout=PULL_SECONDS)
        except subprocess.TimeoutExpired:
            pull.terminate()
            return f"not done after {PULL_SECONDS} s"
        except BaseException:
            pull.terminate()
            raise
    return _last(errors) if pull.returncode else None


def _install(base: Base, mirror: str | None) -> None:
    """The packages onto the pulled image; proxies pass as build arguments, which stay out of the image."""
    proxies = [name for name in os.environ if re.fullmatch(r"(?i)(http|https|no)_proxy", name)]
    arguments = [word for name in proxies for word in ("--build-arg", name)]
    made = _docker(
        "build", "--quiet", "--force-rm", *arguments, "--tag", base_reference(base), "-", feed=_dockerfile(base, mirror)
    )
    if made.returncode:
        hint = (
            f"{MIRROR_VARIABLE}=http://MIRROR/debian names another mirror; or remove the image: docker rmi {base.image}"
        )
        raise HostError(f"packages could not be installed onto {base.image}: {_last(made.stderr)}", hint)


def _dockerfile(base: Base, mirror: str | None) -> str:
    # The image has no certificates to read https mirrors with.
    lines = [line for line in mirror_lines(suite_of(base), mirror) if line.startswith("deb http:")]
    printed = " ".join(shlex.quote(line) for line in lines)
    apt = "apt-get -o Acquire::Check-Valid-Until=false"
    if lines:
        apt += " -o Dir::Etc::sourcelist=/tmp/mirror.list -o Dir::Etc::sourceparts=-"
    rules = " ".join(shlex.quote(rule) for rule in EXCLUDED)
    packages = " ".join(shlex.quote(name) for name in base.packages)
    return f"""FROM {base.image}
LABEL {LABEL}=pulled
RUN set -eu; printf '%s\\n' {printed} > /tmp/mirror.list; printf '%s\\n' {rules} > /etc/dpkg/dpkg.cfg.d/slim; \\
    {apt} update; DEBIAN_FRONTEND=noninteractive {apt} install -y --no-install-recommends {packages}; \\
    rm -rf /tmp/mirror.list {LEFTOVER}
"""


def _bootstrap(base: Base, mirror: str | None, trouble: str, say: Say) -> None:
    """An image from packages alone, through a tar file that is removed whatever happens."""
    if not shutil.which("mmdebstrap"):
        raise HostError(f"no base image: {trouble}, and mmdebstrap is missing", "sudo apt-get install mmdebstrap")
    with _room() as folder:
        tar = folder / "base.tar"
        code, lines = _run_and_say(_mmdebstrap(base, mirror, tar), folder, say)
        if code:
            errors = [line for line in lines if line.startswith("E:")] or lines
            message = f"no base image: {trouble}, and mmdebstrap failed: {_last(chr(10).join(errors))}"
            raise HostError(message, f"{MIRROR_VARIABLE}=http://MIRROR/debian names the Debian mirror to use")
        changes = (f"ENV PATH={PATH}", 'CMD ["bash"]', f"LABEL {LABEL}=bootstrapped")
        flags = [word for change in changes for word in ("--change", change)]
        made = _docker("import", *flags, str(tar), base_reference(base))
    if made.returncode:
        raise HostError(f"Docker did not take the base image: {_last(made.stderr)}", "docker system df")


def _mmdebstrap(base: Base, mirror: str | None, tar: Path) -> list[str]:
    options = [f"--dpkgopt={rule}" for rule in EXCLUDED] + [f"--aptopt={line}" for line in _apt_settings()]
    hook = f'cd "$1" && rm -rf {" ".join(f".{path}" for path in (FORGET + " " + LEFTOVER).split())}'
    include = f"--include={','.join(('usr-is-merged', *base.packages))}"
    hooks = [f"--chrooted-customize-hook={NO_PERL}", f"--customize-hook={hook}"]
    words = ["mmdebstrap", "--mode=auto", "--variant=minbase", include, *options, *hooks]
    return [*words, suite_of(base), str(tar), *mirror_lines(suite_of(base), mirror)]


def _apt_settings() -> list[str]:
    """The machine's own Acquire settings that decide whether a download works: proxies, checks, certificates."""
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return []
    wanted = r'Acquire::(?:https?::\S+|Check-Valid-Until|Check-Date|Retries) ".+";'
    return [line for line in dump.splitlines() if re.fullmatch(wanted, line)]


@contextmanager
def _room() -> Iterator[Path]:
    """A folder on a real disk (/tmp may be memory) with ROOM_BYTES free, removed at the end."""
    parent = Path("/var/tmp") if os.access("/var/tmp", os.W_OK) else Path(tempfile.gettempdir())
    free = shutil.disk_usage(parent).free
    if free < ROOM_BYTES:
        raise HostError(f"{parent} has {free / 2**30:.1f} GiB free, the base image needs 1.0 GiB", f"df -h {parent}")
    with tempfile.TemporaryDirectory(prefix="weighbridge-base-", dir=parent, ignore_cleanup_errors=True) as name:
        # Without root, mmdebstrap works as another (mapped) user that must get through.
        os.chmod(name, 0o711)  # noqa: S103  passing through is all it allows
        yield Path(name)


def _run_and_say(command: Sequence[str], folder: Path, say: Say) -> tuple[int, list[str]]:
    """Exit status and stderr lines. Interrupted, it ends mmdebstrap with all that it started, and waits."""
    lines: list[str] = []
    environment = {**os.environ, "TMPDIR": str(folder)}
    # A session of its own: mmdebstrap hangs up its whole process group when the disk is full.
    with subprocess.Popen(
        [*_own_mounts(), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as run:
        try:
            for line in run.stderr or ():
                lines.append(line.rstrip())
                if line.startswith("I: "):
                    say(f"  {line[3:].rstrip()}")
        except BaseException:
            _end(run)
            raise
    return run.returncode, lines


def _own_mounts() -> list[str]:
    """For root: what mmdebstrap mounts is seen by it alone and goes with it, so clean-up cannot walk into it."""
    prefix = ["unshare", "--mount"]
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return []
    works = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else []


def _end(run: subprocess.Popen[str]) -> None:
    """mmdebstrap itself ignores the signal and cleans up once its children are gone; else all are killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(run.pid, number)
        with suppress(subprocess.TimeoutExpired):
            run.wait(CLEANUP_SECONDS)
            break
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
