"""Methods as recipes of stages: records, recipes, and the stages that they are made of."""
