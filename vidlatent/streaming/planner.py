def plan_sweep(*a, **k):
    raise NotImplementedError
