"""Tables of bench/run.sh's lines of JSON.  usage: table.py RESULTS.json"""
import json
import sys


# Ratios that an iteration of a shape (d, n, K) is meant to reach at least.
TO_REACH = {"576, 6000, 100": 6, "2304, 6000, 100": 15, "4096, 6000, 200": 12, "640, 262144, 2048": 6}


def table(heads, rows):
    cells = [heads, *[[x if isinstance(x, str) else f"{x:.3g}" for x in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    for number, line in enumerate(cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))
        if not number:
            print("  ".join("-" * width for width in widths))
    print()


def shape(x):
    return f"{x['width']}, {x['rows']}, {x['rank']}"


def main(path):
    lines = [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]
    of = {case: [x for x in lines if x["case"] == case]
          for case in ("iteration", "python", "joint", "catalog", "bytes", "scaling")}
    print("An iteration (ms), both run as long as the reference's own rule runs; peer: dense products of libtorch")
    table(["d, n, K", "data", "iterations", "plain product", "peer", "quench", "ratio", "to reach", "first 50", "ratio",
           "share computed"],
          [[shape(x), x["data"], str(x["iterations"]), 1e3 * x["product_s"], 1e3 * x["peer_iteration_s"],
            1e3 * x["iteration_s"], x["peer_iteration_s"] / x["iteration_s"], TO_REACH.get(shape(x), "-"), 1e3 * x["iteration_first_50_s"],
            x["peer_iteration_s"] / x["iteration_first_50_s"], x["share_computed"]] for x in of["iteration"]])
    print("Whole fits (s): until 99.9% of the reference's whole decrease, and to each program's own stop")
    table(["d, n, K", "peer to its stop", "peer to 99.9%", "quench to 99.9%", "ratio to peer's stop", "to reach",
           "quench to its stop", "its iterations", "its decrease"],
          [[shape(x), x["peer_fit_s"], x["peer_time_to_decrease_s"],
            *([x["time_to_decrease_s"], x["peer_fit_s"] / x["time_to_decrease_s"]] if x["time_to_decrease_s"] > 0
              else ["another minimum", "-"]), 30, x["progress_fit_s"], str(x["progress_iterations"]),
            x["progress_decrease"]] for x in of["iteration"]])
    print("Where the time of the whole run goes (%)")
    phases = ["start", "systems", "dense", "winners", "sparse", "communication"]
    table(["d, n, K", "ranks", *phases],
          [[shape(x), str(x.get("ranks", 1)),
            *[100 * x["phases_s"][p] / sum(x["phases_s"].values()) for p in phases]]
           for x in of["iteration"] + of["joint"]])
    print("The peer from Python (ms an iteration), and how many times as long as quench it takes")
    mine = {shape(x): x["iteration_s"] for x in of["iteration"]}
    python = [(shape(x), [x["numpy_s"], x.get("torch_s")]) for x in of["python"]]
    table(["d, n, K", "numpy", "torch", "numpy, ratio", "torch, ratio"],
          [[case, *[1e3 * s if s else "-" for s in peers], *[s / mine[case] if s and case in mine else "-" for s in peers]]
           for case, peers in python])
    print("One joint dictionary (s an iteration); peer: the dense formulation, sharded the same way")
    table(["d, n, K", "ranks", "threads", "plain product", "peer", "quench", "ratio", "to reach", "of product's rate (0.7)",
           "predicted", "MB sent"],
          [[shape(x), str(x["ranks"]), str(x["threads"]), x["product_s"], x["peer_iteration_s"], x["iteration_s"],
            x["peer_iteration_s"] / x["iteration_s"], TO_REACH.get(shape(x), "-"), x["share_of_product_rate"], x["predicted_iteration_s"],
            x["payload_bytes_an_iteration"] / 1e6] for x in of["joint"]])
    one_thread = [x for x in of["joint"] if x["threads"] == 1]
    rows = max((x["rows"] for x in one_thread), default=0)
    seconds = {(x["ranks"], x["rows"]): x["iteration_s"] for x in one_thread}
    if {(1, rows), (2, rows)} <= seconds.keys():
        print(f"1 to 2 ranks of one thread, joint: {seconds[1, rows] / seconds[2, rows]:.2f} (to reach: 1.8)")
    if {(1, rows // 2), (2, rows)} <= seconds.keys():
        print(f"the same with {rows // 2:,} rows a rank: {seconds[1, rows // 2]:.3g} s on one, {seconds[2, rows]:.3g} s on two "
              f"(weak scaling: {seconds[1, rows // 2] / seconds[2, rows]:.0%})\n")
    print("A catalog: the whole stage, queue and files included")
    steps = ("start", "systems", "dense", "winners", "sparse", "communication", "rest")
    table(["concepts", "d", "K", "ranks", "threads", "seconds", "concepts an hour", *[f"{step} %" for step in steps]],
          [[str(x["concepts"]), str(x["width"]), str(x["rank"]), str(x["ranks"]), str(x["threads"]), x["seconds"],
            x["concepts_an_hour"], *[100 * x[f"share_{step}"] for step in steps]] for x in of["catalog"]])
    rows = evaluation(lines)
    if rows:
        print("Evaluation of SmolLM2-135M-Instruct (items a second); peer: transformers, same tokens and cores")
        table(["work", "quench", "peer", "ratio", "to reach", "of product's rate", "agreement"], rows)
    ranks = {x["ranks"]: x["seconds"] for x in lines if x["case"] == "choice" and x.get("threads") == 1}
    if 1 in ranks and 2 in ranks:
        print(f"1 to 2 ranks of one thread, choices: {ranks[1] / ranks[2]:.2f} (to reach: 1.9)\n")
    print("Predicted seconds of an iteration of the joint dictionary, fitted to one rank of one thread")
    table(["ranks", "strong scaling", "of that sending", "weak scaling", "of that sending"],
          [[str(x["ranks"]), x["strong_s"], x["strong_sends_s"], x["weak_s"], x["weak_sends_s"]] for x in of["scaling"]])
    print("Bytes sent by a rank in an iteration (d 32, K 64)")
    table(["rows", "ranks", "counted", "mean (some features screened twice)", "cost model"],
          [[str(x["rows"]), str(x["ranks"]), str(x["sent_by_a_rank"]), str(round(x["mean_sent_by_a_rank"])), str(round(x["predicted"]))]
           for x in of["bytes"]])


def evaluation(lines):
    ours = {x["case"]: x for x in lines if x["case"] in ("letter", "choice", "generate", "forward", "cell")
            and not (x["case"] == "choice" and x["ranks"] > 1) and x.get("threads") != 1}
    peers = {x["case"][5:]: x for x in lines if x["case"].startswith("peer ")}
    rows = []

    def agreement(case, peer):
        if case == "letter":
            return f"{peer['same']} of {peer['letters']} letters the same"
        if case == "choice":
            return f"scores to {peer['largest_difference']:.1e}"
        return f"{100 * peer['same_tokens']:.1f}% of tokens the same"

    def share(x, key):
        return f"{x[key]:.0%}" if key in x else "-"

    to_reach = {"letter": 1.8, "choice": 2.5, "generate": 1.5, "forward": 1.0, "backward": 1.0}
    for case in ("letter", "choice", "generate"):
        if case in ours and case in peers:
            mine, peer = ours[case], peers[case]
            rows.append([case, mine["items"] / mine["seconds"], mine["items"] / peer["seconds"],
                         peer["seconds"] / mine["seconds"], to_reach[case],
                         share(mine, "of_product_rate"), agreement(case, peer)])
    for key in ("forward", "backward"):
        if "forward" in ours and "forward" in peers:
            mine, peer = ours["forward"][key + "_tokens_s"], peers["forward"][key + "_tokens_s"]
            rows.append([key + " (tokens)", mine, peer, mine / peer, to_reach[key],
                         share(ours["forward"], key + "_of_product_rate"), ""])
    if "cell" in ours:
        x = ours["cell"]
        possible = x["items"] / max(1, x["computed"])
        rows.append(["cell, reuse on / off", x["items"] / x["seconds_on"], x["items"] / x["seconds_off"],
                     x["seconds_off"] / x["seconds_on"], 0.9 * possible, "-",
                     f"{x['own']} + {x['similar']} + {x['general']}: {x['computed']} of {x['items']} have an edited "
                     f"token (at most {possible:.2f}), "
                     f"scores to {x['largest_difference']:.1e}"])
    return rows


if __name__ == "__main__":
    main(sys.argv[1])
