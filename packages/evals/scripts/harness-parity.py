"""Compares the scores of @meap/evals with those of lm-evaluation-harness, row by row, on the same model and rows.

Python 3.11, lm-eval 0.4.13, torch 2.15.0, transformers 5.23.0, datasets 5.2.0:
    pip install lm-eval[api]==0.4.13 torch==2.15.0 transformers==5.23.0 datasets==5.2.0 jieba==0.42.1 fuzzywuzzy==0.18.0 rouge==1.0.1

    # 1. Rows in the published formats, from the first rows of each data set (ROWS below).
    python harness-parity.py rows --data DATA --out rows
    # 2. @meap/evals. Further flags: --bos.
    meap-evaluate run --model MODEL --data rows --set data.texts=rows/perplexity.jsonl --log-samples --out ours \\
        --tasks arc_easy,arc_challenge,boolq,hellaswag,openbookqa,piqa,winogrande,social_iqa,lambada_openai,perplexity
    # 3. The harness, with the model (--model hf) or a server with OpenAI's API.
    python harness-parity.py run --rows rows --tokenizer MODEL --model hf --out hf.json
    python harness-parity.py run --rows rows --tokenizer MODEL --model local-completions \\
        --base-url http://127.0.0.1:PORT/v1/completions --out served.json
    # 4. Row by row. Exit status 1 when a metric of a row, a total or a log-likelihood differs.
    python harness-parity.py compare --harness hf.json --ours ours

The further tasks are compared on 200 rows each, which are invented in the schemas of their data sets:
    python harness-parity.py invent --data DATA --out invented
    meap-evaluate run --config invented/recipe.yaml --model MODEL --set bos=false --log-samples --out ours
    python harness-parity.py run --rows invented --tokenizer MODEL --model hf --out hf.json
    python harness-parity.py compare --harness hf.json --ours ours

With examples or a chat template (--num-fewshot N, --apply-chat-template, --system-instruction for both programs), rows are
their own split of examples. `--model prompts` compares prompts only, without PyTorch:
    meap-evaluate run --model MODEL --data rows --num-fewshot 5 --log-samples --out ours --tasks nq_open,hellaswag,… \\
        --set data.hellaswag_train=rows/hellaswag.jsonl …
    python harness-parity.py run --rows rows --model prompts --num-fewshot 5 --out prompts.json

The tasks are the harness' own YAML files; only where they read rows from is replaced, and `acc_bytes` is asked for
wherever `acc_norm` is. `--bos` has BOS added to every text, which is `--bos` of ours.

The LlamaTokenizer of transformers 5 replaces the normalizer of tokenizer.json, after which a text that starts with a space loses
it. Texts of the data sets start with spaces: give MODEL a tokenizer_config.json with PreTrainedTokenizerFast.

`local-completions` leaves room for a token that is never asked for, so it cuts requests longer than --max-length tokens
a token or two shorter than `hf` and we do. Such rows are counted and compared apart.
"""

import argparse
import gzip
import itertools
import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Task, its YAML in lm_eval/tasks, its split, and additional metrics.
TASKS = {
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "winogrande": "winogrande/default.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "lambada_openai": "lambada/lambada_openai.yaml",
    "nq_open": "nq_open/nq_open.yaml",
    "perplexity": None,
}
# Further tasks, compared on invented rows, here and in fixtures/make_harness_tasks.py.
MORE_TASKS = {
    "blimp_adjunct_island": "blimp/adjunct_island.yaml",
    "blimp_wh_island": "blimp/wh_island.yaml",
    "commonsense_qa": "commonsense_qa/default.yaml",
    "copa": "super_glue/copa/default.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
    "gsm8k_cot": "gsm8k/gsm8k-cot.yaml",
    "gsm8k_cot_self_consistency": "gsm8k/gsm8k-cot-self-consistency.yaml",
    "leaderboard_mmlu_pro": "leaderboard/mmlu_pro/mmlu_pro.yaml",
    "leaderboard_musr_murder_mysteries": "leaderboard/musr/musr_murder_mysteries.yaml",
    "logiqa": "logiqa/logiqa.yaml",
    "lambada_standard": "lambada/lambada_standard.yaml",
    **{f"lambada_openai_mt_{language}": f"lambada_multilingual/lambada_mt_{language}.yaml" for language in ("de", "en", "es", "fr", "it")},
    **{f"longbench_{name}": f"longbench/{name}.yaml" for name in ("narrativeqa", "qasper", "multifieldqa_en", "hotpotqa", "2wikimqa", "musique", "triviaqa")},
    "mmlu_abstract_algebra": "mmlu/default/mmlu_abstract_algebra.yaml",
    "mmlu_high_school_world_history": "mmlu/default/mmlu_high_school_world_history.yaml",
    "mmlu_pro_computer_science": "mmlu_pro/mmlu_pro_computer_science.yaml",
    "mmlu_world_religions": "mmlu/default/mmlu_world_religions.yaml",
    "pubmedqa": "pubmedqa/pubmedqa.yaml",
    "race": "race/race.yaml",
    "sciq": "sciq/sciq.yaml",
    "svamp": "gsm8k/gsm8k-cot.yaml",
    "swag": "swag/swag.yaml",
    "triviaqa": "triviaqa/default.yaml",
    "truthfulqa_mc1": "truthfulqa/truthfulqa_mc1.yaml",
    "truthfulqa_mc2": "truthfulqa/truthfulqa_mc2.yaml",
    "wikitext": "wikitext/wikitext.yaml",
    "wsc273": "wsc273/default.yaml",
}
# SVAMP, which the harness does not have, as another data set of its gsm8k_cot.
SVAMP = {
    "doc_to_text": "Q: {{question if question is defined else (Body | trim) + ' ' + (Question | trim)}}\nA:",
    "doc_to_target": "{{target if target is defined else '%g' | format(Answer | float)}}",
}
WITH_NORM = {"arc_easy", "arc_challenge", "hellaswag", "openbookqa", "piqa"}


# --- rows ------------------------------------------------------------------------------------------------------------


def arc(row):
    labels = "ABCDE"[: len(row["choices"])]
    return {
        "question": row["query"].removeprefix("Question: "),
        "choices": {"text": row["choices"], "label": list(labels)},
        "answerKey": labels[row["gold"]],
    }


def openbookqa(row):
    question = arc(row)
    return {"question_stem": question.pop("question"), **question}


def boolq(row):
    passage, question = re.fullmatch(r"Passage: (.*)\nQuestion: (.*)\?", row["query"], re.S).groups()
    return {"passage": passage, "question": question, "label": row["gold"]}


def hellaswag(row):
    label, context = row["ctx"].split(": ", 1)
    # The second part starts after the last full stop, with a lower-case letter.
    first, second = re.fullmatch(r"(.*[.!?]) ([^.!?]*)", context, re.S).groups()
    return {
        "activity_label": label,
        "ctx_a": first,
        "ctx_b": second,
        "endings": row["endings"],
        "label": str(row["label"]),
    }


def winogrande(row):
    first, second = row["context_options"]
    shared = len(os.path.commonprefix([first, second]))
    while shared > 0 and not first[shared - 1].isspace():
        shared -= 1
    return {
        "sentence": f"{first[:shared]}_ {row['continuation']}",
        "option1": first[shared:],
        "option2": second[shared:],
        "answer": str(row["gold"] + 1),
    }


def social_iqa(row):
    """The rendered rows have two of the three answers; the third is invented."""
    context, question, _, a, b, _ = row["query"].split("\n")
    return {
        "context": context.removeprefix("Context: "),
        "question": question.removeprefix("Question: "),
        "answerA": a.removeprefix("A. "),
        "answerB": b.removeprefix("B. "),
        "answerC": "none of the above",
        "label": str(row["gold"] + 1),
    }


ROWS = {
    "arc_easy": ("lm-eval/arc_easy.first300.jsonl", arc),
    "arc_challenge": ("lm-eval/arc_challenge.first300.jsonl", arc),
    "boolq": ("lm-eval/boolq.first200.jsonl", boolq),
    "hellaswag": ("lm-eval/hellaswag_val.first1000.jsonl", hellaswag),
    "openbookqa": ("lm-eval/openbook_qa.first300.jsonl", openbookqa),
    "piqa": ("lm-eval/piqa_valid.first500.jsonl", lambda row: row),
    "winogrande": ("lm-eval/winogrande.first300.jsonl", winogrande),
    "social_iqa": ("lm-eval/siqa.first300.jsonl", social_iqa),
    "nq_open": (
        "qa/nq-open-oracle.jsonl.gz",
        lambda row: {"question": row["question"], "answer": row["answers"]},
    ),
    "lambada_openai": (
        "lm-eval/lambada_openai.first300.jsonl",
        lambda row: {"text": f"{row['context']} {row['continuation']}"},
    ),
}


def write_rows(args):
    args.out.mkdir(parents=True, exist_ok=True)
    for task, (file, publish) in ROWS.items():
        opened = gzip.open if file.endswith(".gz") else open
        with opened(args.data / file, "rt", encoding="utf-8") as lines:
            rows = [publish(json.loads(line)) for line in itertools.islice(lines, 1000)]
        if task == "piqa":
            # One choice has 624 tokens, over the 512 that stories260K reads: the harness fails there, @meap/evals skips the row.
            rows = [row for row in rows if max(len(row["sol1"]), len(row["sol2"])) < 1000]
        write_jsonl(args.out / f"{task}.jsonl", rows)
    stories = (args.data / "text/tinystories_2MiB.txt").read_text(encoding="utf-8").split("<|endoftext|>")
    # Short texts, and one that needs many windows.
    texts = [story.strip() for story in stories[:100]]
    texts.append((args.data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")[:20000])
    write_jsonl(args.out / "perplexity.jsonl", ({"text": text} for text in texts))


# Tasks of which `invent` makes no rows: those with real ones, and one with sampled answers.
NOT_INVENTED = TASKS.keys() - {"nq_open"} | {"gsm8k_cot_self_consistency"}
# Parts of tasks that meap-evaluate reads from one data set.
PARTS = {"mmlu": "subjects", "mmlu_pro": "subjects", "blimp": "paradigms"}
# Answers of 256 and 2048 tokens would take hours.
MAX_GEN_TOKS = 48


def invent(args):
    """Writes rows of the further tasks, and a recipe that evaluates them."""
    from invented_rows import Invented, sentences_of

    args.out.mkdir(parents=True, exist_ok=True)
    stories = (args.data / "text/tinystories_2MiB.txt").read_text(encoding="utf-8").split("<|endoftext|>")
    wiki = (args.data / "text/wikitext2_valid.txt").read_text(encoding="utf-8").split("\n")
    # Special tokens spelled in a text are an intended difference.
    sentences = [one for one in sentences_of(stories[:300] + wiki) if "<" not in one]
    names = [name for name in {"nq_open": TASKS["nq_open"]} | MORE_TASKS if name not in NOT_INVENTED]
    tasks, data, parts = [], {}, {}
    for name in names:
        invented = Invented(name, sentences)
        write_jsonl(args.out / f"{name}.jsonl", (invented.row() for _ in range(args.num_rows)))
        group = "mmlu_pro" if name.startswith("mmlu_pro_") else name.split("_")[0]
        if group in PARTS:
            part = name.removeprefix(f"{group}_")
            parts.setdefault(group, []).append(part.replace("_", " ") if group == "mmlu_pro" else part)
        whole = group if group in PARTS else name
        key = "truthfulqa" if name.startswith("truthfulqa") else "gsm8k" if name.startswith("gsm8k") else whole
        data.setdefault(key, []).append(f"{name}.jsonl")
        tasks += [whole] if whole not in tasks else []
    # The two of TruthfulQA, and of GSM8K, read the same data set.
    both = [row | other for row, other in zip(*(read_jsonl(args.out / f"truthfulqa_mc{i}.jsonl") for i in (1, 2)))]
    for i in (1, 2):
        write_jsonl(args.out / f"truthfulqa_mc{i}.jsonl", both)
    write_jsonl(args.out / "gsm8k_cot.jsonl", read_jsonl(args.out / "gsm8k.jsonl"))
    data |= {"truthfulqa": ["truthfulqa_mc1.jsonl"], "gsm8k": ["gsm8k.jsonl"]}
    examples = {"mmlu": "mmlu_dev", "mmlu_pro": "mmlu_pro_validation", "lambada_standard": "lambada_standard_validation"}
    with_train = ["commonsense_qa", "copa", "sciq", "swag", "logiqa", "pubmedqa", "gsm8k", "triviaqa", "nq_open"]
    examples |= {name: f"{name}_train" for name in with_train}
    data |= {split: data[name] for name, split in examples.items()}
    recipe = {"tasks": tasks, "data": data} | {group: {PARTS[group]: names} for group, names in parts.items()}
    recipe["mmlu_pro"] |= {"max_gen_toks": MAX_GEN_TOKS}
    recipe["generate_until"] = {"max_gen_toks": MAX_GEN_TOKS}
    (args.out / "recipe.yaml").write_text(json.dumps(recipe, indent=1) + "\n")  # JSON is YAML.


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").strip().split("\n")]


def write_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


# --- the harness -----------------------------------------------------------------------------------------------------


def local_yaml(task, rows, max_gen_toks=None):
    """The harness' task on local rows; for texts, its wikitext task.

    LongBench's own limits of an answer are kept.

    TASK.jsonl has the rows of the evaluated split, TASK_train.jsonl, if it exists, those of the split of examples.
    """
    import lm_eval

    file = str((rows / f"{task}.jsonl").resolve())
    examples = rows / f"{task}_train.jsonl"
    train = str(examples.resolve()) if examples.exists() else file
    config = {"task": f"local_{task}", "tag": [], "dataset_path": "json", "dataset_name": None}
    path = (TASKS | MORE_TASKS)[task]
    if path is None:
        names = ["word_perplexity", "byte_perplexity", "bits_per_byte"]
        return config | {
            "dataset_kwargs": {"data_files": {"test": file}},
            "test_split": "test",
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": name} for name in names],
        }
    published = Path(lm_eval.__file__).parent / "tasks" / path
    splits = {key: value for key, value in split_names(published).items() if value is not None}
    evaluated = splits.get("test_split", splits.get("validation_split"))
    files = {split: train for split in splits.values()} | {evaluated: file}
    config |= {"include": str(published), "dataset_kwargs": {"data_files": files}}
    if task == "svamp":
        config |= SVAMP
    generation = merged_yaml(published).get("generation_kwargs")
    if generation is not None and not task.startswith("longbench_") and max_gen_toks is not None:
        config["generation_kwargs"] = generation | {"max_gen_toks": max_gen_toks}
    if task in WITH_NORM:
        names = ["acc", "acc_norm", "acc_bytes"]
        config["metric_list"] = [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names
        ]
    return config


def split_names(path):
    """The splits that a YAML of the harness names, itself or in what it includes."""
    config = merged_yaml(path)
    keys = ["training_split", "validation_split", "test_split", "fewshot_split"]
    return {key: config[key] for key in keys if key in config}


def merged_yaml(path):
    """A YAML of the harness with what it includes."""
    config = own_yaml(path)
    return (merged_yaml(path.parent / config["include"]) if "include" in config else {}) | config


def own_yaml(path):
    """A YAML of the harness; functions are their names."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: node.value)
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def run_harness(args):
    import lm_eval
    from lm_eval.tasks import TaskManager

    every = TASKS | MORE_TASKS
    tasks = args.tasks.split(",") if args.tasks else [name for name in every if (args.rows / f"{name}.jsonl").exists()]
    arguments = {"add_bos_token": args.bos}
    model = args.model
    if args.model == "prompts":
        model, arguments = prompts_model(args.tokenizer), None
    elif args.model == "hf":
        arguments |= {"pretrained": args.tokenizer, "dtype": "float32", "device": "cpu", "batch_size": args.batch_size}
    else:
        arguments |= {
            "model": args.served_name,
            "base_url": args.base_url,
            "tokenizer": args.tokenizer,
            "tokenizer_backend": "huggingface",
            # It reserves one token for generation that it never requests.
            "max_length": args.max_length + 1,
            "batch_size": args.batch_size,
            "num_concurrent": args.num_concurrent,
        }
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            config = json.dumps(local_yaml(task, args.rows, MAX_GEN_TOKS))  # JSON is YAML.
            (Path(folder) / f"local_{task}.yaml").write_text(config)
        results = lm_eval.simple_evaluate(
            model=model,
            model_args=arguments,
            limit=args.limit,
            num_fewshot=args.num_fewshot,
            apply_chat_template=args.apply_chat_template,
            fewshot_as_multiturn=args.apply_chat_template and not args.fewshot_in_one_message,
            system_instruction=args.system_instruction,
            tasks=[f"local_{task}" for task in tasks],
            task_manager=TaskManager(include_path=folder, include_defaults=False),
            log_samples=True,
            bootstrap_iters=args.bootstrap_iters,
        )
    if args.model == "prompts":
        # Tasks with several filters have a sample for each.
        samples = {
            task: [sample["arguments"] for _, sample in sorted({sample["doc_id"]: sample for sample in results["samples"][f"local_{task}"]}.items())]
            for task in tasks
        }
        args.out.write_text(json.dumps({"lm_eval": lm_eval.__version__, "model": args.model, "bos": args.bos, "samples": samples}))
        return
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)

    def num_tokens(sample):
        texts = ["".join(part for part in pair if isinstance(part, str)) for pair in sample["arguments"]]
        return max(len(ids) for ids in tokenizer(texts, add_special_tokens=args.bos)["input_ids"])

    kept = {"lm_eval": lm_eval.__version__, "model": args.model, "bos": args.bos, "results": {}, "samples": {}}
    for task in tasks:
        kept["results"][task] = results["results"][f"local_{task}"]
        kept["samples"][task] = [
            {
                "filter": sample["filter"],
                "filtered": sample["filtered_resps"],
                "arguments": [list(pair) for pair in sample["arguments"]],
                "scores": [response[0] for response in sample["resps"]],
                "metrics": {name: sample[name] for name in sample["metrics"]},
                "is_cut": args.model != "hf" and num_tokens(sample) > args.max_length,
            }
            for sample in sorted(results["samples"][f"local_{task}"], key=lambda sample: (sample["doc_id"], sample["filter"]))
        ]
    args.out.write_text(json.dumps(kept))


def prompts_model(tokenizer_folder):
    """A model that answers nothing, for the prompts alone; its chat template is that of a tokenizer."""
    from lm_eval.api.model import LM

    class Prompts(LM):
        tokenizer_name = "prompts"

        def loglikelihood(self, requests):
            return [(-1.0, False) for _ in requests]

        def loglikelihood_rolling(self, requests):
            return [-1.0 for _ in requests]

        def generate_until(self, requests):
            return ["" for _ in requests]

        def chat_template(self, chat_template=False):
            return ""

        def apply_chat_template(self, chat_history, add_generation_prompt=True):
            from transformers import AutoTokenizer

            self.tokenizer = getattr(self, "tokenizer", None) or AutoTokenizer.from_pretrained(tokenizer_folder)
            return self.tokenizer.apply_chat_template(chat_history, tokenize=False, add_generation_prompt=add_generation_prompt)

    return Prompts()


# --- the comparison --------------------------------------------------------------------------------------------------


def compare(args):
    harness = json.loads(args.harness.read_text())
    print(f"lm-eval {harness['lm_eval']}, --model {harness['model']}, bos {harness['bos']}")
    if harness["model"] == "prompts":
        sys.exit(0 if compare_prompts(args.ours, harness["samples"]) else 1)
    print("| task | rows | metrics that differ | furthest log-likelihood | cut rows | totals |")
    print("| --- | --- | --- | --- | --- | --- |")
    agrees = True
    for task, theirs in harness["samples"].items():
        result = json.loads((args.ours / "tasks" / f"{task}.json").read_text())
        lines = read_jsonl(args.ours / f"samples_{task}.jsonl")
        lines.sort(key=lambda line: (line["doc_id"], line["filter"]))
        assert not result["skipped"] and len(lines) == len(theirs), f"{task}: other rows"
        furthest, differing, cut = 0.0, [], 0
        for row, (line, expected) in enumerate(zip(lines, theirs, strict=True)):
            differences, apart = compare_row(task, line, expected)
            for difference in differences:
                print(f"  {task} row {row}{' (cut)' if expected['is_cut'] else ''}: {difference}", file=sys.stderr)
            if expected["is_cut"]:
                cut += 1
            else:
                differing += differences
                furthest = max(furthest, apart)
        same, totals = compare_totals(task, result["results"], harness["results"][task])
        agrees = agrees and not differing and furthest <= args.tolerance and (same or cut > 0)
        print(f"| {task} | {len(theirs)} | {len(differing)} | {furthest:.1e} | {cut} | {', '.join(totals)} |")
    sys.exit(0 if agrees else 1)


def compare_prompts(ours, samples):
    agrees = True
    print("| task | rows | rows with another prompt |\n| --- | --- | --- |")
    for task, theirs in samples.items():
        lines = map(json.loads, (ours / f"samples_{task}.jsonl").read_text().strip().split("\n"))
        # Tasks with several filters have a line for each.
        rows = list({line["doc_id"]: texts_of(line) for line in lines}.values())
        assert len(rows) == len(theirs), f"{task}: other rows, {len(rows)} and {len(theirs)}"
        differing = sum(
            row != [[part for part in pair if isinstance(part, str)] for pair in expected]
            for row, expected in zip(rows, theirs, strict=True)
        )
        agrees = agrees and differing == 0
        print(f"| {task} | {len(rows)} | {differing} |")
    return agrees


def texts_of(line):
    """Texts of the requests in a line of our log, which has the harness' format."""
    requests = (request.values() for request in line["arguments"].values())
    return [[part for part in request if isinstance(part, str)] for request in requests]


def compare_row(task, ours, theirs):
    """Differences of answers, metrics, weights, greedy flags and log-likelihoods. Prompts must be equal."""
    differences, apart, answers = [], 0.0, ""
    if task not in ("perplexity", "wikitext"):
        expected = [[part for part in pair if isinstance(part, str)] for pair in theirs["arguments"]]
        assert texts_of(ours) == expected, f"{task}: {ours['arguments']} {expected}"
    if isinstance(theirs["scores"][0], str):
        got, wanted = ours["resps"][0] + ours["filtered_resps"], theirs["scores"] + theirs["filtered"]
        if got != wanted:
            differences.append(f"answer {got}, harness {wanted}")
    else:
        is_rolling = task in ("perplexity", "wikitext")
        got = [float(score if is_rolling else score[0]) for score in ours["filtered_resps"]]
        wanted = theirs["scores"] if is_rolling else [score for score, _ in theirs["scores"]]
        flags = [] if is_rolling else [is_greedy == "True" for _, is_greedy in ours["filtered_resps"]]
        expected_flags = [] if is_rolling else [is_greedy for _, is_greedy in theirs["scores"]]
        if flags != expected_flags:
            differences.append(f"greedy {flags}, harness {expected_flags}")
        apart = max(abs(a - b) for a, b in zip(got, wanted, strict=True))
        answers = f"; log-likelihoods {got}, harness {list(wanted)}"
    for name, value in theirs["metrics"].items():
        measured = ours[name]
        if isinstance(value, list):
            same = measured[1] == value[1]
        elif task == "truthfulqa_mc2":
            same = math.isclose(measured, value, abs_tol=1e-4)
        else:
            same = name == "perplexity" or measured == value
        if not same:
            differences.append(f"{name} {measured}, harness {value}{answers}")
    return differences, apart


def compare_totals(task, ours, theirs):
    same, shown = True, []
    for key, value in theirs.items():
        name, _, part = key.partition(",")
        if part == "" or not isinstance(value, float):
            continue
        metric = ours[name.removesuffix("_stderr") + ("" if part == "none" else f",{part}")]
        mine = metric["standardError" if name.endswith("_stderr") else "value"]
        # These depend on log-likelihoods, the others on counts.
        is_float = "perplexity" in name or name == "bits_per_byte" or task == "truthfulqa_mc2"
        is_close = math.isclose(mine, value, rel_tol=1e-4 if is_float else 1e-12)
        if not name.endswith("_stderr") or not is_close:
            shown.append(f"{key.removesuffix(',none')} {mine:.5g}" + ("" if is_close else f" (harness {value:.5g})"))
        # The harness' bootstrap of LAMBADA's perplexity is random.
        same = same and (is_close or name == "perplexity_stderr")
    return same, shown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    rows = commands.add_parser("rows", help="write rows in their published formats")
    rows.add_argument("--data", type=Path, required=True)
    rows.add_argument("--out", type=Path, required=True)
    rows.set_defaults(call=write_rows)
    invented = commands.add_parser("invent", help="invent rows of the further tasks")
    invented.add_argument("--data", type=Path, required=True)
    invented.add_argument("--out", type=Path, required=True)
    invented.add_argument("--num-rows", type=int, default=200)
    invented.set_defaults(call=invent)
    run = commands.add_parser("run", help="run the harness")
    run.add_argument("--rows", type=Path, required=True)
    run.add_argument("--tokenizer", help="folder of the model (hf) or of its tokenizer")
    run.add_argument("--model", choices=["hf", "local-completions", "prompts"], default="hf")
    run.add_argument("--base-url")
    run.add_argument("--served-name", default="model", help="the model's name at the server")
    run.add_argument("--max-length", type=int, default=511, help="maximum prompt length of the server, one less than the context of stories260K")
    run.add_argument("--num-concurrent", type=int, default=1)
    run.add_argument("--batch-size", type=int, default=16)
    run.add_argument("--bos", action="store_true")
    run.add_argument("--limit", type=int)
    run.add_argument("--num-fewshot", type=int)
    run.add_argument("--apply-chat-template", action="store_true")
    run.add_argument("--fewshot-in-one-message", action="store_true")
    run.add_argument("--system-instruction")
    run.add_argument("--tasks", help="comma-separated; default those with rows")
    run.add_argument("--bootstrap-iters", type=int, default=1000)
    run.add_argument("--out", type=Path, required=True)
    run.set_defaults(call=run_harness)
    both = commands.add_parser("compare", help="compare scores of the harness and @meap/evals")
    both.add_argument("--harness", type=Path, required=True)
    both.add_argument("--ours", type=Path, required=True, help="output of meap-evaluate run --log-samples")
    both.add_argument("--tolerance", type=float, default=1e-3, help="tolerance of log-likelihoods, in nats")
    both.set_defaults(call=compare)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
