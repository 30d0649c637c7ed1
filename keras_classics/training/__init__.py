"""How models are trained: the recipe, what it runs on, and the folder that it leaves."""
