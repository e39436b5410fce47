"""Request and response bodies in OpenAPI."""

from fastapi.routing import APIRoute
from pydantic import BaseModel

from coach_auth.routes import router


def test_every_public_body_has_an_example_that_is_valid() -> None:
    models: set[type[BaseModel]] = set()
    for route in router.routes:
        assert isinstance(route, APIRoute)
        if route.include_in_schema:
            fields = [route.response_field, route.body_field]
            annotations = [field.field_info.annotation for field in fields if field is not None]
            models |= {
                model
                for annotation in annotations
                for model in (annotation, *getattr(annotation, "__args__", ()))
                if isinstance(model, type) and issubclass(model, BaseModel)
            }

    assert len(models) >= 15
    for model in models:
        examples = model.model_json_schema().get("examples", [])
        assert examples, model
        for example in examples:
            model.model_validate(example)
