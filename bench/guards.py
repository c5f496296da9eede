#!/usr/bin/env python3
"""What a look at one text costs: Ringwall, and other tools on the same text in the same run.

Presidio's pattern recognisers, Yelp's detect-secrets (the engine of LLM Guard's Secrets scanner), LLM
Guard's own Regex scanner and gitleaks, as far as they can be had: what cannot be installed or started
is skipped, and said. Each tool looks for what it knows, so the table says what a look costs and what it
found, not who is better. Absolute times hold on no shared machine: compare within one run.
"""

import argparse
import importlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = pathlib.Path(os.environ.get("RINGWALL_CACHE", pathlib.Path.home() / ".cache" / "ringwall"))
PACKAGES = {"presidio": "presidio-analyzer==2.2.358", "detect-secrets": "detect-secrets==1.5.0",
            "llm-guard": "llm-guard==0.3.16"}

PROSE = ("The committee met on Tuesday to go through the plan for the new depot. Most members agreed that the site "
         "near the river is cheaper, while two of them asked for a second opinion on the ground. A short report "
         "will follow in the spring, and the town will be asked before any contract is signed. ")
# Values that are right by their checksums, and belong to nobody.
VALUES = ("Reach Ada at ada.lovelace@example.com or +44 20 7946 0958; the card is 4111 1111 1111 1111, the account "
          "GB29 NWBK 6016 1331 9268 19 and the host 203.0.113.7. ")


def texts():
    """By name: 2 KiB and 16 KiB prompts, and a document of 100 KiB, each with a few values."""
    sizes = {"prompt, 2 KiB": 2048, "prompt, 16 KiB": 16384, "document, 100 KiB": 102400}
    return {name: (VALUES + PROSE * (size // len(PROSE) + 1))[:size] for name, size in sizes.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    binary = os.environ.get("RINGWALL_BIN", ROOT / "target" / "release" / "ringwall")
    parser.add_argument("--binary", type=pathlib.Path, default=binary)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return inside(args.inside, args.rounds)
    binary = pathlib.Path(args.binary)
    if not binary.is_file():
        sys.exit(f"guards: no binary at {binary}; build it, or name one with RINGWALL_BIN or --binary")
    results = {"Ringwall, all packs": ringwall(binary, args.rounds)}
    for name, package in PACKAGES.items():
        results.update(in_venv(name, package, args.rounds))
    results.update(gitleaks(args.rounds))
    print(table(results))


def ringwall(binary, rounds):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as rows:
        for name, text in texts().items():
            for _ in range(rounds):
                rows.write(json.dumps({"id": name, "text": text}) + "\n")
        rows.flush()
        out = subprocess.run([binary, "guard", "score", rows.name], stdout=subprocess.PIPE, check=True)
    found = {}
    for line in map(json.loads, out.stdout.splitlines()):
        found.setdefault(line["id"], []).append((line["cost_ns"] / 1e9, len(line["hits"])))
    return {name: (statistics.median(cost for cost, _ in all), all[0][1]) for name, all in found.items()}


def in_venv(name, package, rounds):
    """Installs a tool into a folder of its own and measures it there; nothing, and why, if that fails."""
    folder = CACHE / "guards" / name
    python = folder / "bin" / "python"
    # LLM Guard asks for gigabytes of models' libraries; its Regex scanner needs none of them.
    alone = ["--no-deps"] if name == "llm-guard" else []
    try:
        if not (folder / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([python, "-m", "pip", "install", "-q", *alone, package], check=True, timeout=900)
            (folder / "installed").touch()
        out = subprocess.run([python, __file__, "--inside", name, "--rounds", str(rounds)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, timeout=600)
        return {label: {text: tuple(cell) for text, cell in cells.items()}
                for label, cells in json.loads(out.stdout).items()}
    except (subprocess.SubprocessError, OSError, ValueError) as fault:
        why = getattr(fault, "stderr", None) or b""
        last = why.decode(errors="replace").strip().splitlines()[-1:] or [str(fault)]
        print(f"guards: SKIPPED {name} ({package}): {last[0][:160]}", file=sys.stderr)
        return {}


def inside(name, rounds):
    look = {"presidio": presidio, "detect-secrets": detect_secrets, "llm-guard": llm_guard}[name]
    label, look = look()
    print(json.dumps({label: {text_name: measured(look, text, rounds) for text_name, text in texts().items()}}))


def measured(look, text, rounds):
    found, costs = look(text), []
    for _ in range(rounds):
        begun = time.perf_counter()
        look(text)
        costs.append(time.perf_counter() - begun)
    return statistics.median(costs), found


def presidio():
    registry = importlib.import_module("presidio_analyzer.predefined_recognizers")
    base = importlib.import_module("presidio_analyzer").PatternRecognizer
    kinds = [kind for kind in vars(registry).values()
             if isinstance(kind, type) and issubclass(kind, base) and kind is not base]
    recognizers = []
    for kind in kinds:
        try:
            recognizers.append(kind())
        except Exception:  # some need libraries that are not installed
            continue
    look = lambda text: sum(len(one.analyze(text, one.supported_entities, None) or []) for one in recognizers)
    return f"Presidio, {len(recognizers)} pattern recognisers", look


def detect_secrets():
    scan = importlib.import_module("detect_secrets.core.scan")
    settings = importlib.import_module("detect_secrets.settings")

    def look(text):
        with settings.default_settings():
            return sum(1 for line in text.splitlines() or [text] for _ in scan.scan_line(line))
    return "detect-secrets (LLM Guard's Secrets)", look


def llm_guard():
    scanner = importlib.import_module("llm_guard.input_scanners.regex").Regex(
        patterns=[r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", r"(?:\d[ -]?){13,16}"], is_blocked=True)
    return "LLM Guard, Regex, 2 patterns", lambda text: int(not scanner.scan(text)[1])


def gitleaks(rounds):
    binary = shutil.which("gitleaks")
    if not binary:
        print("guards: SKIPPED gitleaks: no such program here, and the registries hold no build of it", file=sys.stderr)
        return {}

    def look(text):
        out = subprocess.run([binary, "stdin", "--no-banner", "--exit-code", "0", "-r", "/dev/stdout", "-f", "json"],
                             input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        return len(json.loads(out.stdout or b"[]"))
    # Most of it is the start of a process: one that scans many files pays it once.
    return {"gitleaks, a process each": {name: measured(look, text, rounds) for name, text in texts().items()}}


def table(results):
    names = list(texts())
    out = ["| tool | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for tool, cells in results.items():
        shown = [f"{cells[name][0] * 1e6:,.0f} us, {cells[name][1]} found" for name in names]
        out.append(f"| {tool} | " + " | ".join(shown) + " |")
    return "\n".join(out)


if __name__ == "__main__":
    main()
