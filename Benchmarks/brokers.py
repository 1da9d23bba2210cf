"""Brokers in temporary folders, certificates for their clients, and runs of `martlet bench` against them."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.path.join(HERE, "..", ".build", "release")
CLIENTS = 2000


def run(*command, **options):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, **options)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Certificates:
    """An authority, a server, and clients that share a key."""

    def __init__(self, folder):
        self.folder = folder
        self.key("ca"), self.key("server"), self.key("client")
        run("openssl", "req", "-x509", "-new", "-key", self["ca.key"], "-subj", "/CN=Benchmark CA", "-days", "2",
            "-out", self["ca.crt"])
        self.sign("server", "localhost", "server.key", "subjectAltName=DNS:localhost")
        for number in range(CLIENTS):
            self.sign(f"client-{number}", f"client-{number}", "client.key")

    def __getitem__(self, name):
        return os.path.join(self.folder, name)

    def key(self, name):
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self[name + ".key"])

    def sign(self, name, subject, key, extension=""):
        run("openssl", "req", "-new", "-key", self[key], "-subj", f"/CN={subject}", "-out", self["request"])
        with open(self["extension"], "w") as file:
            file.write(extension)
        run("openssl", "x509", "-req", "-in", self["request"], "-CA", self["ca.crt"], "-CAkey", self["ca.key"],
            "-CAcreateserial", "-days", "2", "-extfile", self["extension"], "-out", self[name + ".crt"])


class Broker:
    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.port = free_port()

    def start(self, *command, counts=True):
        log = open(os.path.join(self.folder, "log"), "ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append((process, counts))
        return process

    def wait(self, condition, what):
        end = time.monotonic() + 20
        while not condition():
            if time.monotonic() > end:
                with open(os.path.join(self.folder, "log")) as log:
                    sys.exit(f"{what} does not start:\n{log.read()[-2000:]}")
            time.sleep(0.05)

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def pids(self):
        return ",".join(str(process.pid) for process, counts in self.processes if counts)

    def stop(self):
        for process, _ in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()


class Mosquitto(Broker):
    name = "mosquitto"

    def __init__(self, folder, certificates):
        super().__init__(folder)
        path = os.path.join(folder, "mosquitto.conf")
        with open(path, "w") as file:
            file.write(f"""
user root
listener {self.port} 127.0.0.1
cafile {certificates['ca.crt']}
certfile {certificates['server.crt']}
keyfile {certificates['server.key']}
require_certificate true
use_identity_as_username true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
""")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.start(program, "-c", path)
        self.wait(self.answers, "mosquitto")


class Martlet(Broker):
    name = "Martlet"

    def __init__(self, folder, certificates, listeners=2, settings=""):
        super().__init__(folder)
        redis = os.path.join(folder, "redis.sock")
        self.start("redis-server", "--port", "0", "--unixsocket", redis, "--save", "", "--appendonly", "no", "--dir",
                   folder, counts=False)
        self.wait(lambda: os.path.exists(redis), "redis-server")
        rows = "".join(f"HSET tls_domain:client-{number} password pw\r\n" for number in range(CLIENTS))
        subprocess.run(["redis-cli", "-s", redis, "--pipe"], input=rows.encode(), check=True, stdout=subprocess.DEVNULL)
        for name in ("run", "state"):
            os.mkdir(os.path.join(folder, name))
        path = os.path.join(folder, "martlet.yaml")
        with open(path, "w") as file:
            file.write(f"""
runtime_directory: {folder}/run
state_directory: {folder}/state
durability: process
processes: {{listeners: {listeners}, auth_workers: 1, max_connection_rate: 0}}
listeners:
  - name: devices
    addresses: ["127.0.0.1:{self.port}"]
    tls:
      certificate_file: {certificates['server.crt']}
      key_file: {certificates['server.key']}
      client_ca_file: {certificates['ca.crt']}
authentication:
  command: HMGET tls_domain:%C password
  redis: {{url: "unix://{redis}"}}
authorization:
  rules: {{default: [{{allow: all, topics: ["#"]}}]}}
{settings}
""")
        supervisor = self.start(os.path.join(PROGRAMS, "martlet"), "run", "--config", path, counts=False)
        self.wait(lambda: supervisor.poll() is None and self.answers() and self.status(path), "Martlet")
        self.roles = self.status(path)

    def status(self, path):
        result = subprocess.run([os.path.join(PROGRAMS, "martlet"), "status", "--config", path], capture_output=True,
                                text=True, stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            return []
        rows = [line.split() for line in result.stdout.splitlines()]
        return [row[2] for row in rows if len(row) > 2 and row[1] == "up"]

    @property
    def pids(self):
        return ",".join(self.roles)

    def stop(self):
        supervisor = self.processes[-1][0]
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(timeout=20)
        except subprocess.TimeoutExpired:
            pass
        super().stop()


def measure(kind, arguments, certificates, seconds, **options):
    folder = tempfile.mkdtemp(prefix="martlet-compare")
    broker = kind(folder, certificates, **options)
    try:
        command = [
            os.path.join(PROGRAMS, "martlet"), "bench", *arguments, "--host", "localhost", "--port", str(broker.port),
            "--ca", certificates["ca.crt"], "--cert-pattern", certificates["client-%d.crt"], "--cert-count", str(CLIENTS),
            "--key", certificates["client.key"], "--user", "client-%d", "--password", "pw", "--seconds", str(seconds),
            "--pid", broker.pids, "--json", "--quiet",
        ]
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if not result.stdout.startswith("{"):
            sys.exit(f"{broker.name}: {' '.join(arguments)}: {result.stderr}")
        report = json.loads(result.stdout)
        if not report["ok"]:
            print(f"{broker.name}: {' '.join(arguments)}: {report['problems']}", file=sys.stderr)
        return report
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
