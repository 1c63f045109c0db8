"""The official class names of CIFAR-10 and CIFAR-100, and the fine classes of each super-class."""

import numpy as np

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Super-class: its five fine classes in the order that `subpop` moves along.
SUPERCLASSES = {
    "aquatic_mammals": ("otter", "seal", "beaver", "dolphin", "whale"),
    "fish": ("flatfish", "trout", "aquarium_fish", "ray", "shark"),
    "flowers": ("poppy", "tulip", "rose", "orchid", "sunflower"),
    "food_containers": ("bottle", "cup", "can", "bowl", "plate"),
    "fruit_and_vegetables": ("apple", "pear", "orange", "sweet_pepper", "mushroom"),
    "household_electrical_devices": ("clock", "lamp", "telephone", "television", "keyboard"),
    "household_furniture": ("chair", "couch", "bed", "table", "wardrobe"),
    "insects": ("beetle", "cockroach", "bee", "butterfly", "caterpillar"),
    "large_carnivores": ("leopard", "tiger", "lion", "bear", "wolf"),
    "large_man-made_outdoor_things": ("road", "bridge", "house", "castle", "skyscraper"),
    "large_natural_outdoor_scenes": ("plain", "forest", "mountain", "cloud", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "kangaroo", "elephant"),
    "medium_mammals": ("skunk", "possum", "raccoon", "porcupine", "fox"),
    "non-insect_invertebrates": ("crab", "lobster", "spider", "snail", "worm"),
    "people": ("man", "woman", "boy", "girl", "baby"),
    "reptiles": ("lizard", "snake", "turtle", "crocodile", "dinosaur"),
    "small_mammals": ("mouse", "shrew", "hamster", "rabbit", "squirrel"),
    "trees": ("oak_tree", "pine_tree", "maple_tree", "willow_tree", "palm_tree"),
    "vehicles_1": ("bicycle", "motorcycle", "pickup_truck", "bus", "train"),
    "vehicles_2": ("streetcar", "tractor", "tank", "lawn_mower", "rocket"),
}

# The official fine labels 0..99 are the names in alphabetical order.
FINE = tuple(sorted(name for names in SUPERCLASSES.values() for name in names))

_FINE_INDEX = np.array([[FINE.index(name) for name in names] for names in SUPERCLASSES.values()])

# For each fine class 0..99 its super-class 0..19, and its place 0..4 within it.
SUPERCLASS_OF_FINE = np.empty(100, np.int32)
PLACE_OF_FINE = np.empty(100, np.int32)
SUPERCLASS_OF_FINE[_FINE_INDEX] = np.arange(20)[:, None]
PLACE_OF_FINE[_FINE_INDEX] = np.arange(5)
