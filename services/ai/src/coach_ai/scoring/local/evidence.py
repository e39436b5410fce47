"""The evidence in an answer: how much of each role it has, 0 to 1.

Each value is a saturating sum or a maximum over units. So adding a unit never raises a value unless
the unit is new evidence, and cutting evidence never raises one.
"""

from dataclasses import dataclass

import numpy as np

from coach_ai.scoring.local.reading import Reading
from coach_ai.scoring.local.roles import COLUMN, Role
from coach_ai.scoring.local.thresholds import Thresholds, Values, ramp, ramp_all

PRESENT = 0.5
"""Share of evidence from which on a part is present."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Shares of the evidence that an answer can have, 0 to 1.

    Attributes:
        case: An own case instead of general talk.
        effort: Steps, with or without content.
        action: Concrete own steps.
        action_of_claim: The same, for a claim that needs fewer of them.
        scene, result, measured_result, lesson: The parts of a story. The last three count only
            after most of the concrete steps.
        outcome: A result anywhere.
        case_of_claim, claim, proposal, reason: What other questions ask for.
    """

    case: float
    case_of_claim: float
    effort: float
    action: float
    action_of_claim: float
    scene: float
    result: float
    measured_result: float
    lesson: float
    outcome: float
    measured_outcome: float
    claim: float
    proposal: float
    reason: float


def weigh_units(roles: Values, reading: Reading, limits: Thresholds) -> dict[str, Values]:
    """Return, for each kind of evidence, how much each unit adds."""

    def total(*parts: Role, half: tuple[Role, ...] = ()) -> Values:
        found: Values = sum(
            (roles[:, COLUMN[one]] for one in parts), np.zeros(len(roles))
        ) + 0.5 * sum((roles[:, COLUMN[one]] for one in half), np.zeros(len(roles)))
        return found

    ramps = limits.roles
    whole = np.minimum(reading.shares, 1.0)
    action = ramp_all(total(Role.ACTION), ramps["action"]) * reading.shares
    before = np.concatenate(([0.0], np.cumsum(action)[:-1]))
    # A result follows most of the steps. What precedes them belongs to the scene.
    after = ramp_all(before / max(float(action.sum()), 1e-6), limits.steps_before_result)
    result = ramp_all(total(Role.RESULT) + 0.3 * total(Role.LESSON), ramps["result"]) * whole
    case = total(Role.ACTION, Role.EFFORT, Role.SCENE, Role.RESULT, half=(Role.ENDING, Role.LESSON))
    claims = total(Role.CLAIM, Role.MOTIVE)
    proposals = total(Role.PROPOSAL, Role.ACTION, Role.REASON, Role.RESULT, half=(Role.LESSON,))
    return {
        "action": action,
        "effort": ramp_all(total(Role.ACTION, Role.EFFORT), ramps["effort"]) * reading.shares,
        "case": ramp_all(case, ramps["case"]) * whole,
        "scene": ramp_all(total(Role.SCENE), ramps["scene"]) * whole,
        "outcome": result,
        "result": result * after,
        "lesson": ramp_all(total(Role.LESSON), ramps["lesson"]) * whole * after,
        "claim": ramp_all(claims, ramps["claim"]) * whole
        + ramp_all(total(Role.EXPERIENCE), ramps["experience"]) * whole,
        "proposal": ramp_all(proposals, ramps["proposal"]) * whole,
        "reason": ramp_all(total(Role.REASON), ramps["reason"]) * whole,
    }


def collect_evidence(roles: Values, reading: Reading, limits: Thresholds) -> Evidence:
    """Return the evidence of an answer by one matrix of role probabilities."""
    added = weigh_units(roles, reading, limits)

    def mass(name: str, limit: str | None = None) -> float:
        return ramp(float(added[name].sum()), limits.masses[limit or name])

    def best(name: str) -> float:
        return min(1.0, float(added[name].max(initial=0.0)))

    def best_measured(name: str) -> float:
        return min(1.0, float((added[name] * reading.has_number).max(initial=0.0)))

    return Evidence(
        case=mass("case"),
        case_of_claim=mass("case", "case_of_claim"),
        effort=mass("effort"),
        action=mass("action"),
        action_of_claim=mass("action", "action_of_claim"),
        scene=best("scene"),
        result=best("result"),
        measured_result=best_measured("result"),
        lesson=best("lesson"),
        outcome=best("outcome"),
        measured_outcome=best_measured("outcome"),
        claim=ramp(float(added["claim"].sum() + added["proposal"].sum()), limits.masses["claim"]),
        proposal=mass("proposal"),
        reason=mass("reason"),
    )
