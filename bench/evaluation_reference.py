"""The peer of evaluation_bench: transformers on the same model, token ids and cores.

usage: evaluation_reference.py letter|choice|generate|forward MODEL [ITEMS.json]   prints one line of JSON

letter: one prompt at a time, 4 tokens generated. choice: padded batches of (question, option). generate: batched generate.
"""
import json
import sys
import time

import torch
import transformers

BATCH = 16


def padded(rows, left, fill=0):
    longest = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        gap = [fill] * (longest - len(row))
        ids.append(gap + row if left else row + gap)
        mask.append([0] * len(gap) + [1] * len(row) if left else [1] * len(row) + [0] * len(gap))
    return torch.tensor(ids), torch.tensor(mask)


def generate(model, rows, tokens):
    ids, mask = padded(rows, left=True)
    out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0,
                         eos_token_id=None)
    return out[:, ids.shape[1]:].tolist()


def letter(model, items):
    same = asked = 0
    start = time.perf_counter()
    said = [generate(model, [item["context"]], 4)[0] for item in items]
    seconds = time.perf_counter() - start
    for item, answer in zip(items, said):
        letters = [option[0] for option in item["continuations"]]
        if answer[0] in letters:
            asked += 1
            same += letters.index(answer[0]) == max(range(4), key=item["values"].__getitem__)
    return {"seconds": seconds, "letters": asked, "same": same}


def choice(model, items):
    pairs = sorted(((item["context"] + option, len(option), i) for i, item in enumerate(items)
                    for option in item["continuations"]), key=lambda pair: -len(pair[0]))
    scores = [[] for _ in items]
    places = {}
    start = time.perf_counter()
    for begin in range(0, len(pairs), BATCH):
        part = pairs[begin:begin + BATCH]
        ids, mask = padded([row for row, _, _ in part], left=False)
        logprobs = torch.log_softmax(model(input_ids=ids, attention_mask=mask).logits, -1)
        for k, (row, length, i) in enumerate(part):
            at = range(len(row) - length, len(row))
            places[tuple(row), i] = sum(logprobs[k, j - 1, row[j]].item() for j in at) / length
    seconds = time.perf_counter() - start
    for i, item in enumerate(items):
        scores[i] = [places[tuple(item["context"] + option), i] for option in item["continuations"]]
    worst = max(abs(a - b) for item, mine in zip(items, scores) for a, b in zip(item["values"], mine))
    return {"seconds": seconds, "largest_difference": worst}


def generation(model, data):
    order = sorted(range(len(data["prompts"])), key=lambda i: -len(data["prompts"][i]))
    answers = [None] * len(order)
    start = time.perf_counter()
    for begin in range(0, len(order), BATCH):
        part = order[begin:begin + BATCH]
        for i, answer in zip(part, generate(model, [data["prompts"][i] for i in part], 100)):
            answers[i] = answer
    seconds = time.perf_counter() - start
    same = sum(a == b for mine, theirs in zip(answers, data["answers"]) for a, b in zip(mine, theirs))
    return {"seconds": seconds, "same_tokens": same / sum(map(len, answers))}


def median_seconds(step, repeats=9):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def forward(model):
    ids = torch.randint(1000, 20000, (16, 64))
    with torch.inference_mode():
        one = median_seconds(lambda: model(input_ids=ids))
    row = torch.randint(1000, 20000, (1, 256))

    def both():
        model.zero_grad(set_to_none=True)
        model(input_ids=row, labels=row).loss.backward()

    return {"forward_tokens_s": 16 * 64 / one, "backward_tokens_s": 256 / median_seconds(both)}


def main(what, path, file=None):
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model.eval()
    data = json.load(open(file, encoding="utf-8")) if what != "forward" else None
    if what == "forward":
        out = forward(model)
    else:
        with torch.inference_mode():
            out = {"letter": letter, "choice": choice, "generate": generation}[what](model, data)
    print(json.dumps({"case": "peer " + what, "threads": torch.get_num_threads(), **out}))


if __name__ == "__main__":
    main(*sys.argv[1:])
