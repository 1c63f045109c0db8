"""From a sequence to a decision.

You have a little data of the present and more of the past. This script builds such a sequence, looks at it, fits a few
methods, and reads from them whether the past helps. Run it with `python docs/tutorial.py`, or cell by cell in an editor
that knows `# %%`. It takes about a minute on two cores, and writes below `runs/tutorial`.
"""

# %% A sequence: digits that are rotated, then corrupted, then relabelled; only 60 samples of the last step
import seqfinal_jax
from seqfinal_jax.data import build_sequence

sequence = build_sequence(
    "digits", "rotation:corruption:label_flip", 500, (250, 250, 60), test_size=500, seed=0
)
for number, step in enumerate(sequence.steps):
    print(f"step {number}: {len(step.train)} training images, {len(step.valid)} validation images")

# %% Three ways, beside the final step alone and an oracle with many more samples of it
settings = {
    "methods": ("erm_final", "oracle", "erm_all", "erm_fine_tune", "erm_linear_probe_fine_tune"),
    "seeds": (0, 1, 2, 3, 4, 5),
}
results = seqfinal_jax.run("digits_rcl", "runs/tutorial", settings=settings, progress=True)
print(results.groupby("method")["test_accuracy"].agg(["mean", "std", "count"]).round(3))

# %% Every seed is a point; the report says the same with intervals
figure = seqfinal_jax.plot("runs/tutorial")
figure.savefig("runs/tutorial/methods.png")
print("the whole report: runs/tutorial/report/index.html")

# %% The decision: the way with the best validation accuracy, and what it gains on test data, seed by seed
ways = results[~results["method"].isin(["erm_final", "oracle"])]
chosen = ways.groupby("method")["valid_accuracy"].mean().idxmax()
accuracies = results.pivot(index="seed", columns="method", values="test_accuracy")
gain = accuracies[chosen] - accuracies["erm_final"]
print(f"{chosen} is {100 * gain.mean():+.1f} points above the final step alone; by seed:")
print((100 * gain).round(1).to_string())

# %% The model of the first seed, ready to use
model = seqfinal_jax.load_model(results[results["method"] == chosen]["path"].iloc[0])
test = sequence.steps[-1].test
print("the first ten test images are", [model.class_names[k] for k in model.predict(test.images[:10])])
