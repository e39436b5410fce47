"""Themes of interview questions, and the terms in which answers speak about them: a thesaurus."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """A theme: the terms by which a question names it, and the terms of answers about it."""

    question_terms: re.Pattern[str]
    answer_terms: re.Pattern[str]


def _theme(question_terms: str, answer_terms: str) -> Theme:
    return Theme(_any_of(question_terms), _any_of(answer_terms))


def _any_of(stems: str) -> re.Pattern[str]:
    """Return a pattern for words and `_`-joined phrases. `*` stands for any ending."""
    words = [re.escape(s).replace(r"\*", r"\w*").replace("_", " ") for s in stems.split()]
    return re.compile(rf"\b({'|'.join(words)})\b")


THEMES = (
    _theme(
        "conflict* disagree* argu* clash* tension difficult_person difficult_colleague fight",
        "conflict* disagree* agree* argu* clash* tension fight* fought shout* angry upset"
        " refus* blam* compromis* opinion* convinc* insist* annoy* rude complain* promis* along"
        " listen* apologi* object* against instead wanted overrul* middle calm* pushed_back"
        " point_of_view",
    ),
    _theme(
        "fail* mistake* went_wrong wrong setback* regret* missed disappoint*",
        "fail* cancel* collaps* lost lose wrong* mistake* error* broke* abandon* scrap*"
        " shut_down late miss* overran gave_up disappoint* flop* reject* looking_back hindsight"
        " should_have embarrass* forgot* overlook* apologi* admit* fault delay* wasn't_ready"
        " didn't_work never_again",
    ),
    _theme(
        "deadline* pressure stress* too_much enough_time overwhelm* busy priorit* overload*"
        " workload several_things",
        "deadline* late overtime pressure stress* busy rush* hectic chao* crazy overload*"
        " overwhelm* short-staffed short_of_staff sick absent urgent* priorit* postpon* delay*"
        " in_time on_time queue* at_once delegat* extension behind panic* juggl* nervous*"
        " weekend* night* exhaust*",
    ),
    _theme(
        "led lead leader* leadership manage* in_charge team_lead",
        "led lead* manag* team* deleg* split* assign* goal* motivat* decid* plan* organi?*"
        " meeting* responsib* in_charge everybody group coordinat* supervis* trust*",
    ),
    _theme(
        "teach taught helped mentor* coach* train* get_better somebody_else explain_something",
        "help* taught teach* coach* train* mentor* show* explain* practi* tip* feedback"
        " beginner* new learn* struggl* improv* guid* support* pair* listen* tried confiden*"
        " patien* together questions",
    ),
    _theme(
        "learn* new_skill pick_up unfamiliar",
        "learn* read course* tutorial* book* practi* studied taught exercise* beginner* new"
        " didn't_know ask* mentor* exam* documentation weekend* evening* from_scratch",
    ),
    _theme(
        "feedback criticism criticis* criticiz*",
        "feedback criti* told said review* hear* honest* defensive hurt upset tough pointed_out"
        " noticed change* improv* practi* since_then worked_on ashamed comment* remark* opinion*"
        " manner* confus* unclear advice",
    ),
    _theme(
        "changed improve* improvement* better_way efficien* innovat* initiative idea simplif*"
        " way_work",
        "chang* improv* reorgani* simplif* automat* introduc* replac* sort* instead process*"
        " mess* slow* waste* faster quicker saved new_way system template* checklist* idea*"
        " propos* suggest* set_up stopped",
    ),
    _theme(
        "persuad* convinc* influenc* buy-in sell_an_idea negotiat* report_to_you",
        "persuad* convinc* agree* propos* argu* show* figures numbers data refus* reluctan*"
        " sceptic* skeptic* objection* against_it support* pilot trial tried_it demo* ask*"
        " listen* present* buy-in said_yes came_round allies meeting* offer* negotiat* sold_them"
        " benefit*",
    ),
    _theme(
        "decide* decision* decisions uncertain* little_information risk* judgement judgment",
        "decid* decision* risk* guess* uncertain* didn't_know unknown option* choice* chose"
        " assum* worst_case reversib* bet wait* information data evidence called ask* either gut"
        " clear* call_it time_to hour* consequence*",
    ),
    _theme(
        "rule rules ethic* integrity honest* right_thing dilemma wrong_thing",
        "rule* allowed against polic* honest* refus* report* told wrong lie* lied truth fair*"
        " unfair manager* supervisor* forbid* forbidden permission trouble admit* cheat* illegal"
        " emergency",
    ),
    _theme(
        "customer* client* guest* patient* user complaint*",
        "customer* client* guest* patient* complain* angry unhappy refund* apologi* listen*"
        " calm* broken wait* call* order* deliver* replac* exchange* shout* manager return*"
        " satisf*",
    ),
    _theme(
        "bad_news difficult_message unpopular",
        "bad_news told tell* delay* cancel* late* lost angry cried cry upset sorry apologi*"
        " honest* phone* called explain* disappoint* shock* dismiss* redundan* layoff*"
        " instead_of wait*",
    ),
    _theme(
        "proud* achieve* accomplish* success*",
        "proud* achiev* won award* finish* launch* built grew record* success* promot* best"
        " goal* reached passed",
    ),
    _theme(
        "different_from diversity diverse other_culture* get_along team_player teamwork",
        "different* differently opposite strict* style* culture* language* clash* along"
        " together compromis* respect* understand* understood listen* habit* way_of got_used",
    ),
    _theme(
        "problem* bug* outage* challenge* hardest difficult obstacle* crisis incident*",
        "problem* issue* bug* fail* outage* crash* error* broke* incident* fix* solv* cause*"
        " found trac* reproduc* test* hard* difficult* stuck tried struggl* debug* repair* late"
        " down",
    ),
    _theme(
        "why_do_you_want why_are_you why_us why_this why_should interest* motivat* why_did_you",
        "because want* interest* enjoy* love* like_to i_like i_liked attract* motivat* reason*"
        " curious i'd_like dream* matter* fascinat* care_about learn* more_of rather",
    ),
    _theme(
        "five_years ten_years future goal* career ambition* see_yourself",
        "want* i'd_like would_like like_to hope* plan* goal* become* manag* responsib* senior*"
        " future grow* expert* lead senior_position",
    ),
    _theme(
        "weakness* weak improve_about shortcoming* flaw* bad_at",
        "weak* bad_at not_good struggl* difficult* tend_to too impatien* perfection* forget*"
        " nervous* shy say_no deleg* used_to working_on improv* better_at practi* trouble help*"
        " late hard_for",
    ),
    _theme(
        "strength* good_at hire_you makes_you best_at",
        "good_at strength* skill* experience patien* careful* fast reliab* i_can i_know learn*"
        " always able calm* thorough* organi* others_say known_for",
    ),
    _theme(
        "would_you_change you_change dislike* frustrat* leave_your leaving",
        "chang* would instead improv* problem* slow* wish* could better open* stop* start*"
        " missing trouble because proposed suggested",
    ),
)


def theme_coverage(question: str, transcript: str) -> float | None:
    """Return how well an answer covers the question's themes, 0 to 1, or None without a theme.

    Two different terms of a theme cover it completely.
    """
    themes = [theme for theme in THEMES if theme.question_terms.search(question)]
    if not themes:
        return None
    term_counts = [
        len({match[0] for match in theme.answer_terms.finditer(transcript)}) for theme in themes
    ]
    return min(1.0, sum(term_counts) / len(term_counts) / 2)
