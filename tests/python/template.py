"""Prints the AWS templates as JSON: an object from the name of a template to its content. Short forms of functions are
written out: `!Ref A` is `{"Ref": "A"}`, `!If […]` is `{"Fn::If": […]}`."""

import json
import pathlib

import yaml

AWS = pathlib.Path(__file__).resolve().parents[2] / "infra/aws"


def function(loader, name, node):
    kinds = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    construct = kinds.get(type(node), loader.construct_mapping)
    value = construct(node) if isinstance(node, yaml.ScalarNode) else construct(node, deep=True)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


yaml.SafeLoader.add_multi_constructor("!", function)
templates = {path.stem: yaml.safe_load(path.read_text()) for path in AWS.glob("[a-z]*.yaml")}
print(json.dumps(templates, default=str))
