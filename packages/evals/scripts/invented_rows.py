"""Invented rows in the schemas of data sets: sentences of real texts, of which some are made ugly.

Ugly are other scripts, quotes, braces, line breaks, spaces in odd places, empty texts and long ones.
"""

import random

NAMES = ["Ann", "Jürgen", "O'Brien", "Lily", "José", "李娜", "Tom", "Zoë"]
ODD = ["東京タワー", "naïve café", "😀👩‍🚀", "x² ≥ ½", "“quoted” – dash", "It's \"so\"", "a\\b", "{question} {{x}}", "100 %", "ßtraße", "مرحبا", "U\u0308ber", "[header] x"]
LETTERS = "ABCDEFGHIJ"
# What stories260K often answers, in another spelling: right answers, so that some count.
STORY_ANSWERS = ["I'm sorry!", "The Daddy", "daddy", "DUCKY", "what's wrong?", "an anna", "don't worry."]


class Invented:
    """Draws texts and rows; the same for the same task and texts."""

    def __init__(self, task, sentences):
        self.random = random.Random(f"{task} 1")
        self.sentences = sentences
        self.task = task
        self.num_rows = 0

    def sentence(self):
        return self.random.choice(self.sentences)

    def words(self, low, high):
        words = self.sentence().rstrip(".").split()
        return " ".join(words[: self.random.randint(low, high)])

    def text(self, low=1, high=4):
        """Some sentences, one of ten of them long."""
        count = self.random.randint(low, high) * (12 if self.random.random() < 0.1 else 1)
        return self.ugly(" ".join(self.sentence() for _ in range(count)))

    def phrase(self, can_be_empty=False):
        # The harness does not start with an empty choice in the first row.
        if can_be_empty and self.random.random() < 0.02 and self.num_rows > 1:
            return ""
        return self.ugly(self.words(1, 7))

    def ugly(self, text):
        drawn = self.random.random()
        if drawn > 0.35:
            return text
        odd = self.random.choice(ODD)
        return [f"{text} {odd}", f"{odd} {text}", f" {text}", f"{text}  ", text.replace(" ", "  ", 2), text.replace(" ", "\n", 1), f"{text}\n", odd, text.upper()][int(drawn / 0.35 * 9)]

    def phrases(self, count, can_be_empty=True):
        return [self.phrase(can_be_empty) for _ in range(count)]

    def integer(self, low, high):
        return self.random.randint(low, high)

    def number(self):
        return self.random.choice([str(self.integer(0, 9)), f"{self.integer(1, 99)},{self.integer(100, 999)}", f"-{self.integer(1, 50)}", f"{self.integer(1, 9)}.5", f"${self.integer(10, 99)}"])

    def row(self):
        name = self.task
        self.num_rows += 1
        for prefix in ("mmlu_pro", "mmlu", "blimp", "longbench", "lambada", "gsm8k"):
            if name.startswith(prefix):
                return getattr(self, prefix)()
        return getattr(self, name)()

    def arc_easy(self):
        labels = self.random.choice(["ABCD", "1234", "ABC", "ABCDE"])
        choices = {"text": self.phrases(len(labels)), "label": list(labels)}
        return {"id": str(self.integer(0, 10**6)), "question": self.text(1, 2), "choices": choices, "answerKey": self.random.choice(labels)}

    def commonsense_qa(self):
        choices = {"label": list("ABCDE"), "text": self.phrases(5)}
        return {"id": "x", "question": self.text(1, 1), "question_concept": "x", "choices": choices, "answerKey": self.random.choice("ABCDE")}

    def copa(self):
        return {"premise": f"{self.words(3, 9)}.", "choice1": f"{self.random.choice(['É', 'It', 'ǆ', ''])}{self.words(2, 8)}.", "choice2": self.phrase(), "question": self.random.choice(["cause", "effect"]), "idx": 0, "label": self.integer(0, 1)}

    def sciq(self):
        support = "" if self.random.random() < 0.2 else self.text(1, 4)
        return {"question": self.text(1, 1), **dict(zip(["distractor3", "distractor1", "distractor2", "correct_answer"], self.phrases(4))), "support": support}

    def swag(self):
        return {"video-id": "x", "sent1": "x", "sent2": "He", "startphrase": self.text(1, 2), "gold-source": "gold", **{f"ending{k}": text for k, text in enumerate(self.phrases(4))}, "label": self.integer(0, 3)}

    def logiqa(self):
        return {"label": self.random.choice("abcd"), "context": self.text(2, 4), "question": self.text(1, 1), "options": self.phrases(4)}

    def pubmedqa(self):
        contexts = [self.text(1, 2) for _ in range(self.integer(1, 4))]
        return {"QUESTION": self.text(1, 1), "CONTEXTS": contexts, "LABELS": ["x"] * len(contexts), "MESHES": [], "YEAR": "2014", "final_decision": self.random.choice(["yes", "no", "maybe"]), "LONG_ANSWER": "x"}

    def race(self):
        problems = [
            {"question": self.random.choice([f"{self.words(3, 8)}  _  .", f"What's {self.phrase()}?", f"{self.phrase()} _ ."]), "answer": self.random.choice("ABCD"), "options": self.phrases(4, False)}
            for _ in range(self.integer(1, 3))
        ]
        return {"article": self.text(2, 5), "problems": repr(problems)}

    def wsc273(self):
        pronoun = self.random.choice(["it", "he", "His", "they", "her"])
        start = f"{self.words(3, 8)}{self.random.choice(['. ', ' because ', ', so '])}"
        options = [self.random.choice(NAMES), self.random.choice(["The lamp", "A man", "my friend", "They"])]
        return {"text": f"{start}{pronoun} {self.words(2, 6)}.", "pronoun": pronoun, "pronoun_loc": len(start), "quote": "x", "quote_loc": 0, "options": options, "label": self.integer(0, 1), "source": "x"}

    def truthfulqa_mc1(self):
        count = self.integer(2, 6)
        return {"question": self.text(1, 1), "mc1_targets": {"choices": self.phrases(count), "labels": [1] + [0] * (count - 1)}}

    def truthfulqa_mc2(self):
        count, right = self.integer(3, 12), self.integer(1, 2)
        return {"question": self.text(1, 1), "mc2_targets": {"choices": self.phrases(count), "labels": [int(k < right) for k in range(count)]}}

    def wikitext(self):
        lines = [f" = {self.phrase()} = ", "", *(f" {self.sentence().replace(',', ' @,@ ')} he said ' no ' . N @-@ x" for _ in range(self.integer(2, 20)))]
        return {"page": " \n".join(lines)}

    def lambada(self):
        last = self.random.choice([self.words(1, 1), "東京", "café", "O'Brien"])
        return {"text": f"{self.text(2, 4).rstrip()} {last}", "domain": None} if self.task == "lambada_standard" else {"text": f"{self.text(2, 4).rstrip()} {last}"}

    def mmlu(self):
        return {"question": self.text(1, 3), "subject": self.task.removeprefix("mmlu_"), "choices": self.phrases(4), "answer": self.integer(0, 3)}

    def mmlu_pro(self):
        options = self.phrases(self.integer(3, 10), False)
        index = self.integer(0, len(options) - 1)
        cot = f"A: Let's think step by step. {self.text(1, 2)} The answer is ({LETTERS[index]})."
        return {"question_id": 1, "question": self.text(1, 3), "options": options, "answer": LETTERS[index], "answer_index": index, "cot_content": cot, "category": self.task.removeprefix("mmlu_pro_").replace("_", " "), "src": "x"}

    def blimp(self):
        return {"sentence_good": self.ugly(self.sentence()), "sentence_bad": self.ugly(self.sentence()), "UID": self.task.removeprefix("blimp_")}

    def gsm8k(self):
        number = self.number()
        return {"question": self.text(1, 3), "answer": f"{self.text(1, 2)} <<1+1=2>>2\n#### {number}"}

    def svamp(self):
        answer = self.random.choice([f"{self.integer(0, 900)}.0", str(self.integer(0, 90)), "2.5"])
        return {"ID": "chal-1", "Body": self.text(1, 2), "Question": f"{self.phrase()}?", "Equation": "( 1.0 + 1.0 )", "Answer": answer, "Type": "Addition"}

    def triviaqa(self):
        aliases = [*self.phrases(self.integer(1, 4), False), self.random.choice(STORY_ANSWERS)]
        return {"question": self.text(1, 1), "question_id": "x", "answer": {"aliases": aliases, "normalized_aliases": [], "value": aliases[0]}}

    def nq_open(self):
        return {"question": self.words(3, 9).lower(), "answer": [*self.phrases(self.integer(1, 3), False), self.random.choice(STORY_ANSWERS)]}

    def longbench(self):
        answers = [self.random.choice([self.sentence(), self.phrase(), "The", "unanswerable"]) for _ in range(self.integer(1, 4))]
        return {"_id": "x", "context": self.text(2, 30), "question": self.text(1, 1), "answers": answers, "length": 7, "dataset": self.task.removeprefix("longbench_"), "language": "en", "all_classes": None}


def sentences_of(texts):
    """Sentences of 4 to 30 words."""
    found = [" ".join(part.split()) + "." for text in texts for part in text.split(".")]
    return [one for one in found if 4 <= len(one.split()) <= 30]
