"""The neutral graph: what a model computes, and what each kind of operation is."""
