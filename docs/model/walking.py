"""Walk the states of a model, breadth first: what the specifications of the near cache share."""
from collections import deque


def number_of_states(start, successors, is_stale):
    """Return how many states can be reached from `start`; None, after the steps are printed, if one of them is stale.

    `successors` yields the steps that are possible in a state, each with its name and the state after it.
    """
    came_from, todo = {start: None}, deque([start])
    while todo:
        state = todo.popleft()
        if is_stale(state):
            path = []
            while came_from[state] is not None:
                state, what = came_from[state]
                path.append(what)
            print(f"STALE after {len(path)} steps, {len(came_from)} states: {', '.join(reversed(path))}")
            return None
        for what, after in successors(state):
            if after not in came_from:
                came_from[after] = state, what
                todo.append(after)
    return len(came_from)
