"""The lossless negotiation in plain Python: agents are objects, messages lie in a mailbox, one agent acts at a time.

Written from the protocol's description, to compare the array version with. Utilities and costs are float32 throughout,
so that ties fall in the same way.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

F = np.float32


@dataclass
class Request:
    kind: int
    origin: int
    sender: int
    hops: int
    quantity: int
    utility: list[np.float32]
    known: set[int]


@dataclass
class Offer:
    sender: int
    quantity: int
    cost: list[np.float32]


@dataclass
class Passed:
    """What an agent remembers of a request that it sent or passed on."""

    parent: int | None
    need: int
    reserved: int
    reserve_loss: list[np.float32]
    waiting: set[int]
    offers: list[Offer] = field(default_factory=list)
    order: list[Offer] = field(default_factory=list)


@dataclass
class Task:
    index: int
    utility: np.float32
    requires: list[int]


class Agent:
    def __init__(self, world, number, stock, tasks):
        self.world, self.number = world, number
        self.config = world.config
        self.items = list(stock)
        self.tasks = sorted(tasks, key=lambda t: (-self.density(t), t.index))[: self.config.tasks_per_agent]
        self.sent: dict[tuple[int, int], Passed] = {}
        self.heard: set[tuple[int, int]] = set()
        self.arrived = defaultdict(int)  # (owner, type) -> items
        self.ready: dict[int, tuple] = {}
        self.plan()

    @staticmethod
    def density(task):
        return F(task.utility) / F(sum(task.requires)) if sum(task.requires) else F(np.inf)

    @staticmethod
    def serve(tasks, stock):
        left, served = list(stock), []
        for task in tasks:
            if all(need <= have for need, have in zip(task.requires, left, strict=True)):
                left = [have - need for need, have in zip(task.requires, left, strict=True)]
                served.append(task)
        return served, left

    def value(self, stock):
        return sum((t.utility for t in self.serve(self.tasks, stock)[0]), F(0))

    def loss(self, kind, q):
        after = list(self.stock)
        after[kind] -= q
        return max(self.value(self.stock) - self.value(after), F(0))

    def loss_curve(self, kind):
        top = min(self.stock[kind], self.config.max_quantity)
        return [self.loss(kind, q) for q in range(top + 1)]

    def plan(self):
        served, self.left = self.serve(self.tasks, self.items)
        self.blocked = [t for t in self.tasks if t not in served]
        self.needs = [sum(t.requires[r] for t in self.blocked) for r in range(len(self.items))]
        self.stock = list(self.items)
        if self.config.leftovers == "kept":
            self.stock = [s - min(a, b) for s, a, b in zip(self.items, self.left, self.needs, strict=True)]

    def wish(self, kind):
        """Quantity and utility curve of a request of one type."""
        top = self.config.max_quantity

        def worth(have):
            total = F(0)
            for task in self.blocked:
                if 0 < task.requires[kind] <= have:
                    have -= task.requires[kind]
                    share = task.utility
                    if self.config.utility_mode == "marginal":
                        missing = sum(n > h for n, h in zip(task.requires, self.left, strict=True))
                        share = share / F(max(missing, 1))
                    total = total + share
            return total

        curve, best = [], F(0)
        for q in range(top + 1):
            best = max(best, worth(self.left[kind] + q))
            curve.append(best)
        curve = [u - worth(self.left[kind]) for u in curve]
        if self.config.parts:  # of one cycle
            curve = [max(F(q / max(b, 1)) * curve[b] for b in range(q, top + 1)) for q in range(top + 1)]
        quantity = max(0, min(self.needs[kind] - self.left[kind], top))
        return (quantity if curve[quantity] > 0 else 0), curve

    def ask(self):
        for kind in range(len(self.items)):
            quantity, curve = self.wish(kind)
            if quantity:
                near = set(self.world.neighbours[self.number])
                known = near | {self.number}
                self.sent[kind, self.number] = Passed(None, quantity, 0, [F(0)], set(near))
                for other in near:
                    self.world.post(other, Request(kind, self.number, self.number, 0, quantity, curve, known))

    def listen(self, requests):
        """The requests of one round: first those to pass on, then those to answer, in the protocol's order."""
        first = {}
        for request in sorted(requests, key=lambda r: r.sender):
            key = (request.kind, request.origin)
            if key not in self.heard:
                first.setdefault(key, request)
        self.heard |= set(first)
        ranked = sorted(requests, key=lambda r: (r.kind, self.urgency(r), r.origin, r.sender))
        rest = []
        for request in ranked:
            if first.get((request.kind, request.origin)) is not request or not self.pass_on(request):
                rest.append(request)
        for request in rest:
            single = self.config.copies == "one"
            if single and first.get((request.kind, request.origin)) is not request:
                self.answer(request, Offer(self.number, 0, [F(0)]))
            else:
                self.answer(request, self.own_offer(request))

    def urgency(self, request):
        if self.config.order == "random":
            return self.world.turn(self.world.now, request.kind, request.origin, request.sender)
        return -(request.utility[request.quantity] / F(request.quantity) if request.quantity else F(-1))

    def toll(self, other, q):
        return self.world.toll(self.number, other, q)

    def gains(self, request, top):
        return [
            request.utility[q] - (self.loss(request.kind, q) + self.toll(request.sender, q)) for q in range(top + 1)
        ]

    def pass_on(self, request):
        onward = set(self.world.neighbours[self.number]) - request.known
        if not onward or request.hops + 1 >= self.config.max_hops or request.quantity == 0:
            return False
        have, need = self.stock[request.kind], request.quantity
        aside = 0
        if have < need:
            if self.config.reserve == "thesis":
                aside = have
            elif self.config.reserve == "gain":
                aside = int(np.argmax(self.gains(request, have)))
        elif self.gains(request, need)[need] > 0:
            return False
        losses = self.loss_curve(request.kind)
        self.stock[request.kind] -= aside
        top = len(request.utility) - 1
        curve = [request.utility[min(aside + q, top)] - request.utility[aside] for q in range(top + 1)]
        known = request.known | set(self.world.neighbours[self.number])
        self.sent[request.kind, request.origin] = Passed(
            request.sender, need, aside, losses, set(onward)
        )  # fmt: skip
        for other in onward:
            copy = Request(request.kind, request.origin, self.number, request.hops + 1, need - aside, curve, known)
            self.world.post(other, copy)
        return True

    def own_offer(self, request):
        top = min(request.quantity, self.stock[request.kind])
        gains = self.gains(request, top)
        everything = top if gains[top] > 0 else 0
        quantity = int(np.argmax(gains)) if self.config.offer == "best" else everything
        cost = [self.loss(request.kind, q) + self.toll(request.sender, q) for q in range(quantity + 1)]
        self.stock[request.kind] -= quantity
        self.world.direct[request.kind, request.origin, request.sender, self.number] = quantity
        return Offer(self.number, quantity, cost)

    def answer(self, request, offer):
        self.world.post(request.sender, (request.kind, request.origin, offer))

    def receive_offer(self, kind, origin, offer):
        passed = self.sent[kind, origin]
        passed.waiting.remove(offer.sender)
        if offer.quantity:
            passed.offers.append(offer)
        if passed.waiting:
            return
        curve = self.put_together(passed)
        if passed.parent is not None:
            total = min(len(curve) - 1, passed.need)
            cost = [curve[q] + self.toll(passed.parent, q) for q in range(total + 1)]
            self.world.post(passed.parent, (kind, origin, Offer(self.number, total, cost)))
        else:
            self.ready[kind] = curve
            own = [k for k, o in self.sent if o == self.number]
            if self.config.confirm == "separate":
                self.decide([kind])
            elif all(k in self.ready for k in own):
                self.decide(own)

    def put_together(self, passed):
        """Costs of the first q items, for all q on offer: its own first, then the cheapest offers per item."""
        passed.order = sorted(passed.offers, key=lambda o: (o.cost[o.quantity] / F(o.quantity), o.sender))
        curve = [passed.reserve_loss[q] for q in range(passed.reserved + 1)]
        for offer in passed.order:
            base = curve[-1]
            curve += [base + offer.cost[q] for q in range(1, offer.quantity + 1)]
        return curve

    def decide(self, kinds):
        curves = {k: self.ready[k][: self.sent[k, self.number].need + 1] for k in kinds}
        wishes = {k: self.wish(k)[1] for k in kinds}
        chosen = dict.fromkeys(kinds, 0)
        if self.config.confirm == "tasks":
            left = list(self.left)
            for task in self.blocked:
                more = {k: max(task.requires[k] - left[k], 0) for k in range(len(left))}
                if any(q and (k not in kinds or chosen[k] + q >= len(curves[k])) for k, q in more.items()):
                    continue
                extra = sum((curves[k][chosen[k] + q] - curves[k][chosen[k]] for k, q in more.items() if q), F(0))
                if extra < task.utility:
                    for k, q in more.items():
                        if k in chosen:
                            chosen[k] += q
                        left[k] = max(left[k] - task.requires[k], 0)
        else:
            for k in kinds:
                chosen[k] = int(np.argmax([wishes[k][q] - c for q, c in enumerate(curves[k])]))
        if self.config.confirm == "joint":
            have = [h + chosen.get(k, 0) for k, h in enumerate(self.left)]
            worth = sum((t.utility for t in self.serve(self.blocked, have)[0]), F(0))
            if not worth > sum((curves[k][q] for k, q in chosen.items()), F(0)):
                chosen = dict.fromkeys(kinds, 0)
        for k in kinds:
            self.confirm(k, self.number, chosen[k])

    def confirm(self, kind, origin, quantity):
        passed = self.sent[kind, origin]
        mine = min(quantity, passed.reserved)
        if mine:
            self.world.ship(self.number, origin, kind, mine)
        quantity -= mine
        for offer in passed.order:
            part = min(quantity, offer.quantity)
            quantity -= part
            self.world.hop_cost += self.toll(offer.sender, part)
            self.world.post(offer.sender, (kind, origin, self.number, part))

    def receive_confirmation(self, kind, origin, sender, quantity):
        passed = self.sent.get((kind, origin))
        if passed is not None and passed.parent == sender:
            self.confirm(kind, origin, quantity)
        elif quantity:
            assert quantity <= self.world.direct[kind, origin, sender, self.number]
            self.world.ship(self.number, origin, kind, quantity)


class Negotiation:
    """One episode on an instance given as plain arrays; `run` returns shipments, messages and hop cost.

    Where inboxes are in random order, `turn(round, type, origin, sender)` says when a request has its turn.
    """

    def __init__(self, problem, config, turn=None):
        self.config, self.turn, self.now = config, turn, 0
        self.lengths = {}
        for (a, b), w in zip(problem.edges.tolist(), problem.weights.tolist(), strict=True):
            self.lengths[a, b] = self.lengths[b, a] = F(w)
        self.size, self.price = int(problem.package_size), F(problem.per_item)
        n = len(problem.resources)
        self.neighbours = [sorted(b for a, b in self.lengths if a == i) for i in range(n)]
        self.mail, self.direct, self.messages, self.hop_cost = [], {}, 0, F(0)
        tasks = [[] for _ in range(n)]
        for j, owner in enumerate(problem.owner.tolist()):
            if problem.real[j]:
                tasks[owner].append(Task(j, F(problem.utility[j]), problem.requires[j].tolist()))
        self.agents = [Agent(self, i, problem.resources[i].tolist(), tasks[i]) for i in range(n)]

    def toll(self, one, other, q):
        return self.price * self.lengths[one, other] * F(-(-q // self.size)) if q else F(0)

    def post(self, to, message):
        self.messages += 1
        self.mail.append((to, message))

    def ship(self, giver, origin, kind, quantity):
        self.agents[giver].items[kind] -= quantity
        self.agents[origin].arrived[giver, kind] += quantity

    def run(self):
        for agent in self.agents:
            agent.ask()
        while self.mail:
            mail, self.mail = self.mail, []
            self.now += 1
            for agent in self.agents:
                mine = [message for to, message in mail if to == agent.number]
                agent.listen([m for m in mine if isinstance(m, Request)])
                for message in mine:
                    if isinstance(message, tuple) and isinstance(message[-1], Offer):
                        agent.receive_offer(*message)
                for message in mine:
                    if isinstance(message, tuple) and not isinstance(message[-1], Offer):
                        agent.receive_confirmation(*message)
        return self.execute(), self.messages, float(self.hop_cost)

    def distances(self):
        n = len(self.agents)
        far = np.full((n, n), np.inf)
        np.fill_diagonal(far, 0)
        for (a, b), w in self.lengths.items():
            far[a, b] = w
        for k in range(n):
            far = np.minimum(far, far[:, [k]] + far[[k]])
        return far

    def execute(self):
        """(task, owner, type) -> items, nearest owners first."""
        shipments, far = defaultdict(int), self.distances()
        for agent in self.agents:
            pool = dict(agent.arrived)
            for kind, held in enumerate(agent.items):
                pool[agent.number, kind] = pool.get((agent.number, kind), 0) + held
            total = [sum(q for (_, r), q in pool.items() if r == kind) for kind in range(len(agent.items))]
            for task in agent.serve(agent.tasks, total)[0]:
                for kind, need in enumerate(task.requires):
                    for owner in sorted(range(len(self.agents)), key=lambda a, me=agent.number: (far[me, a], a)):
                        part = min(need, pool.get((owner, kind), 0))
                        if part:
                            pool[owner, kind] -= part
                            shipments[task.index, owner, kind] += part
                            need -= part
        return dict(shipments)
