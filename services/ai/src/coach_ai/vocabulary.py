"""What is known about an answer before it is transcribed, as a prompt for the recogniser.

Whisper continues the text it is given: words in it are recognised more easily and spelled the same
way. The terms come first, because the question is the better guess of what precedes the answer.
"""

import re

MAX_QUESTION_CHARACTERS = 400

_FIELDS: tuple[tuple[str, str], ...] = (
    (
        r"\bdata (scien|engineer|analy)|machine learning|\bml\b|\bai\b|analytic|statist",
        "Python, pandas, NumPy, scikit-learn, PyTorch, TensorFlow, Spark, Airflow, dbt, BigQuery,"
        " Snowflake, SQL, ETL, A/B test, p-value, ROC AUC, LLM, XGBoost, Kubernetes, AWS.",
    ),
    (
        r"front.?end|react|\bweb\b|css|javascript|browser|\bui\b|\bux\b|design",
        "JavaScript, TypeScript, React, Redux, Next.js, Vue, Angular, Node.js, npm, webpack, CSS,"
        " HTML, DOM, GraphQL, REST, API, CI/CD, Figma, WCAG, Jest, Cypress.",
    ),
    (
        r"mobile|android|\bios\b|swift|kotlin|flutter",
        "Android, iOS, Kotlin, Swift, SwiftUI, Jetpack Compose, React Native, Flutter, Xcode,"
        " Gradle, Firebase, SQLite, REST, API, JSON, CI/CD, App Store, Play Store.",
    ),
    (
        r"product|project|scrum|agile|roadmap|stakeholder|market|sales",
        "OKR, KPI, MVP, A/B test, roadmap, backlog, stakeholder, Scrum, Kanban, sprint, Jira, SaaS,"
        " B2B, NPS, churn, conversion, API, SQL, Figma, go-to-market.",
    ),
)
_SOFTWARE = (
    "Kubernetes, Docker, AWS, PostgreSQL, MySQL, JSONB, Redis, Kafka, RabbitMQ, Terraform, CI/CD,"
    " FastAPI, OAuth, JWT, GraphQL, gRPC, REST, API, SQL, NoSQL, TypeScript, microservices,"
    " O(n log n), O(n²), p95 latency."
)


def build_prompt(question: str | None, role: str | None = None) -> str:
    """Return the terms of the field, the role and the question.

    The field is found in role and question. Software is assumed if none is named.
    """
    known = f"{role or ''} {question or ''}".lower()
    terms = next((terms for cue, terms in _FIELDS if re.search(cue, known)), _SOFTWARE)
    asked = " ".join((question or "").split())[:MAX_QUESTION_CHARACTERS]
    position = f"Interview for {role}." if role else ""
    return " ".join(part for part in (terms, position, asked) if part)
