#!/usr/bin/env python3
"""How well the guard finds: every labelled corpus, source by source, beside what others publish.

Runs `ringwall guard bench --json` over the corpora of the shared folder, prints the tables and
writes them to bench/quality.md. Thresholds are chosen on these same corpora, per channel; what is
judged elsewhere will be a little worse. Nothing is downloaded, and no row leaves this machine.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent

# Corpora in the order of the page, with what is worth to know beside the numbers.
TASKS = {
    "injection": "User turns, tool results and documents. `all` pools sources of very different size: "
                 "read it by source and by channel.",
    "mcp_tool": "Descriptions of tools. Half of the labelled ones hold no order in their text: their "
                "code was malicious, not their words.",
    "multiturn": "Conversations that lead to a harmful request step by step. No fast text model sees them.",
    "secrets": "gitleaks' own vectors: per rule, up to 12 positives, and its negatives.",
    "pii": "Presidio's synthetic sentences. Names, places and addresses are out of reach of rules.",
    "pii_validators": "Numbers of 246 national formats, each accepted or refused by python-stdnum. Bare "
                      "numbers without context: only formats with a strong check can be told so.",
    "toxicity": "Tweets and talk pages: explicit abuse. Implicit hate is out of reach.",
    "content_safety": "Harmful requests in polite words.",
    "url": "Lists of phishing and of ordinary links. Lexical models do not travel between such lists.",
    "grounding": "Answers against the text they should follow; 1 is supported.",
    "topic": "News by topic: classes, not yes or no.",
}

# What others publish, each with the set it was measured on. P: published, not measured here.
ANCHORS = {
    "injection": [
        ("Llama Prompt Guard 2 86M / 22M", "Meta's private set, English", "R@1% .975 / .887, AUC .998 / .995"),
        ("Prompt Guard 2 86M, independent", "AgentDojo goals, wrapped / raw", "R@1% .943 / .029"),
        ("ProtectAI v2, deepset, independent", "IPI Arena strings", "R@1% .03-.07, .16-.25"),
        ("toolwall 184M / PIGuard / ProtectAI v2 / PG2 86M", "LLMail-Inject", ".822@.000 / .449@.037 / .249@.006 / .215@.004"),
        ("Bedrock / Azure Prompt Shield", "spikee documents", ".878@.033 / .912@.133"),
        ("PG / ProtectAI v2 / deepset", "NotInject, over-defence (FPR)", ".032 / .383 / .705"),
    ],
    "pii": [("Presidio", "one third-party study", "PERSON precision .227; no promise of accuracy")],
    "secrets": [("gitleaks", "its own vectors", "recall 1.000, own-rule false positives 0")],
    "toxicity": [
        ("alt-profanity-check", "Surge / OpenAI moderation", "AUC .843 / .838"),
        ("Bielik-0.5B", "OpenAI moderation", "F1 .72"),
    ],
    "grounding": [
        ("granite-guardian / LettuceDetect", "HaluEval", "F1 .828 / .672"),
        ("lexical features and logistic regression", "FaithDial", "AUC .833"),
    ],
}
COST = [
    ("LLM Guard PromptInjection, 384 characters", "104 ms, CPU with ONNX"),
    ("Prompt Guard 2 86M / 22M, 512 tokens", "92.4 / 19.3 ms on an A100"),
    ("Prisma AIRS", "200 to 400 ms a call"),
]


def main():
    args = arguments()
    corpora = args.shared / "corpora" / "dev"
    files = [corpora / f"{task}.jsonl.gz" for task in TASKS]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        sys.exit("quality: these corpora are missing; name the shared folder with SHARED or --shared:\n  "
                 + "\n  ".join(missing))
    if not args.binary.is_file():
        sys.exit(f"quality: no binary at {args.binary}; build it, or name one with RINGWALL_BIN or --binary")
    command = [args.binary, "guard", "bench", "--json"] + files
    if args.config:
        command += ["--config", args.config]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        sys.exit(f"quality: guard bench failed with {run.returncode}")
    tasks = {task["name"]: task for task in json.loads(run.stdout)["tasks"]}
    page = write(tasks, args)
    print(page)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    shared = os.environ.get("SHARED", ROOT.parent / "shared")
    binary = os.environ.get("RINGWALL_BIN", ROOT / "target" / "release" / "ringwall")
    parser.add_argument("--shared", type=pathlib.Path, default=shared, help="the folder with corpora/dev")
    parser.add_argument("--binary", type=pathlib.Path, default=binary)
    parser.add_argument("--config", help="a configuration, for its rules and actions")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "quality.md")
    args = parser.parse_args()
    args.shared, args.binary = pathlib.Path(args.shared), pathlib.Path(args.binary)
    return args


def write(tasks, args):
    build = "debug build, whose times say little" if "debug" in args.binary.parts else "release build"
    out = [
        "# How well the guard finds",
        "",
        f"Written by `make quality` on {datetime.date.today()} with a {build}; "
        "`ringwall guard bench` measures the same on any corpus.",
        "",
        "R@1% and R@5%: recall at the score that 1 % and 5 % of the same channel's benign texts reach. "
        "FPR@1%: what the first of those thresholds does to the benign rows of that line. "
        "*Rules*: what is hit with no threshold at all, as a gateway does by default.",
        "",
    ] + goals(tasks)
    for name in TASKS:
        out += section(tasks[name])
    out += ["## Cost beside others", "", "| what | published |", "|---|---|"]
    out += [f"| {who} | {what} |" for who, what in COST]
    return "\n".join(out) + "\n"


def goals(tasks):
    """What we set out to reach, and where we are."""
    injection, pii, secrets = tasks["injection"], tasks["pii"], tasks["secrets"]
    channels = {line["name"]: line for line in injection["channels"]}
    kinds = {line["name"]: line for line in injection["benign_kinds"]}
    own = secrets["own_rules"] or {}
    cut = structured(pii)
    grounding = line_of(tasks["grounding"], "all")
    data = [kinds.get(kind, {}) for kind in ("benign_tool", "benign_doc", "benign_code_doc", "benign_code")]
    wrong = sum((line.get("fpr_at_1") or 0) * line.get("negatives", 0) for line in data)
    benign = sum(line.get("negatives", 0) for line in data)
    rows = [
        ("injection, tool results, R@1%", channels.get("tool_result", {}).get("recall_at_1"), ">=", 0.55),
        ("injection, user turns, R@1%", channels.get("user", {}).get("recall_at_1"), ">=", 0.35),
        ("benign look-alikes, accuracy @1%", less(kinds.get("benign_hard", {}).get("fpr_at_1")), ">=", 0.97),
        ("texts about attacks, FPR@1%", kinds.get("benign_mention", {}).get("fpr_at_1"), "<=", 0.02),
        ("code, docs and tool JSON, FPR@1%", wrong / benign if benign else None, "<=", 0.001),
        ("secrets, recall by own rule", share(own.get("found_by_own"), own.get("positives")), ">=", 1.0),
        ("secrets, own-rule false positives", own.get("wrong_by_own"), "<=", 0),
        ("structured PII, span recall", cut[0], ">=", 0.95),
        ("structured PII, span precision", cut[1], ">=", 0.95),
        ("grounding, AUC", grounding.get("auc"), ">=", 0.85),
    ]
    out = ["| goal | here | wanted | |", "|---|--:|--:|---|"]
    for name, value, sign, wanted in rows:
        reached = value is not None and (value >= wanted if sign == ">=" else value <= wanted)
        out.append(f"| {name} | {number(value)} | {sign} {wanted} | {'reached' if reached else '**not reached**'} |")
    return out + [""]


# What the goal of precise spans speaks of: numbers and addresses with a form of their own.
STRUCTURED = ("CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER", "US_SSN")


def structured(pii):
    spans = (pii["entities"] or {}).get("by_entity", {})
    known = [spans[name] for name in STRUCTURED if name in spans]
    total = lambda key: sum(entity[key] for entity in known)
    return share(total("found"), total("labelled")), share(total("right"), total("hits"))


def section(task):
    out = [f"## {task['name']}", "", f"{TASKS[task['name']]} {task['rows']} rows.", ""]
    if task["is_unscored"]:
        out += ["Nothing scores this task yet; the times are all that is told.", ""]
    for what, lines in (("source", "sources"), ("channel", "channels"), ("benign, by kind", "benign_kinds")):
        out += table(what, task[lines])
    if task["entities"]:
        out += entities(task["entities"]["by_entity"])
    if task["own_rules"]:
        out += own_rules(task["own_rules"])
    anchors = ANCHORS.get(task["name"], [])
    if anchors:
        out += ["Published by others, on their sets:", "", "| who | set | figure |", "|---|---|---|"]
        out += [f"| {who} | {where} | {figure} |" for who, where, figure in anchors] + [""]
    return out


def table(what, lines):
    if not lines:
        return []
    out = [f"| {what} | + | - | AUC | R@1% | R@5% | FPR@1% | rules: recall | FPR | us/KB | p99 us |",
           "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    keys = ("auc", "recall_at_1", "recall_at_5", "fpr_at_1", "flagged", "flagged_wrongly")
    for line in lines:
        rates = " | ".join(number(line[key]) for key in keys)
        out.append(f"| {line['name']} | {line['positives']} | {line['negatives']} | {rates} "
                   f"| {line['us_per_kb']:.1f} | {line['us_p99']:.0f} |")
    return out + [""]


def entities(spans):
    out = ["| entity | spans | recall | exact | hits | precision |", "|---|--:|--:|--:|--:|--:|"]
    for name, one in sorted(spans.items()):
        if one["hits"]:
            out.append(f"| {name} | {one['labelled']} | {number(share(one['found'], one['labelled']))} "
                       f"| {number(share(one['exact'], one['labelled']))} | {one['hits']} "
                       f"| {number(share(one['right'], one['hits']))} |")
    unsought = [f"{name} {one['labelled']}" for name, one in sorted(spans.items()) if not one["hits"]]
    return out + ["", f"Labelled, and no rule hit: {', '.join(unsought) or 'none'}.", ""]


def own_rules(own):
    return [
        f"By their own rule: {own['found_by_own']} of {own['known']} positives whose rule is there "
        f"({own['positives']} in all; by any rule {own['found']}). In {own['negatives']} negatives: "
        f"{own['wrong_by_own']} hits of their own rule, {own['wrong_by_any']} with a hit of any.",
        "",
    ]


def line_of(task, name):
    return next((line for line in task["sources"] if line["name"] == name), task["sources"][0])


def share(part, whole):
    return part / whole if whole and part is not None else None


def less(value):
    return None if value is None else 1 - value


def number(value):
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    main()
