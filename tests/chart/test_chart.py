"""What the Helm chart makes is what kustomize makes of deploy/, and values that are wrong are refused.

scripts/check-chart runs it, with CHART_TOOLS the directory of the tools.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "chart" / "reloadlet"
TOOLS = pathlib.Path(os.environ["CHART_TOOLS"])

# The image that deploy/ names.
IMAGE = {"registry": "set-your-image.invalid", "repository": "reloadlet"}
# Kustomize takes them for objects that are in one.
IN_NO_NAMESPACE = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "SecurityContextConstraints"]
# Kustomize is asked for this namespace and this prefix, Helm for a release of that name in it.
ELSEWHERE = ("platform", "team")

ACCELERATION = {"acceleration": {"enabled": True}}
APPARMOR = {"apparmor": {"unconfined": True}}
ARM64 = {"architectures": ["amd64", "arm64"]}
CONTROLLER = {"controller": {"enabled": True}}
CONTROLLER_SECRETS = {"controller": {"enabled": True, "secrets": True}}
K0S = {"kubeletRoot": "/var/lib/k0s/kubelet"}
MICROK8S = {"kubeletRoot": "/var/snap/microk8s/common/var/lib/kubelet"}
NETWORKPOLICY = {"networkPolicy": {"enabled": True}}
NO_CONFIGMAPS = {"configMaps": {"read": False}}
OPENSHIFT = {"openshift": {"enabled": True}}
PODMONITOR = {"podMonitor": {"enabled": True}}
SECRETS = {"secrets": {"measure": True}}
SELINUX = {"selinux": {"enabled": True}}
WITHOUT_AGENTS = {"agent": {"enabled": False}}

# The values for each component, in an order in which all of them but one of the kubelet's directories can be together.
COMPONENTS = {
    "controller": CONTROLLER,
    "controller-secrets": CONTROLLER_SECRETS,
    "k0s": K0S,
    "microk8s": MICROK8S,
    "acceleration": ACCELERATION,
    "openshift": OPENSHIFT,
    "secrets": SECRETS,
    "no-configmaps": NO_CONFIGMAPS,
    "apparmor": APPARMOR,
    "selinux": SELINUX,
    "arm64": ARM64,
    "networkpolicy": NETWORKPOLICY,
    "podmonitor": PODMONITOR,
}

# The values for each overlay that isn't a component alone.
OVERLAYS = {
    "controller-namespaced": {
        **WITHOUT_AGENTS,
        "controller": {"enabled": True, "namespaces": ["shop", "billing"]},
    },
}


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def run(*command, text=""):
    return subprocess.run([str(part) for part in command], input=text, text=True, capture_output=True)


def parsed(output):
    if output.returncode:
        raise AssertionError(output.stderr)
    return json.loads(output.stdout)


def read_yaml(text):
    """The documents of a text."""
    return parsed(run(TOOLS / "objects", text=text))


def template(values, namespace="reloadlet", release="reloadlet", more=()):
    """What `helm template` says, with values that are refused or not."""
    return run(
        TOOLS / "helm", "template", release, CHART, "--namespace", namespace, "--values", "-", *more,
        text=json.dumps(values),
    )


def helm(values, namespace="reloadlet", release="reloadlet"):
    """The objects of a release."""
    output = template(together([{"image": IMAGE}, values]), namespace, release)
    if output.returncode:
        raise AssertionError(output.stderr)
    return read_yaml(output.stdout)


def kustomize(directory):
    return parsed(run(TOOLS / "objects", directory))


def own_kustomization(components, namespace="reloadlet", prefix="", base="base"):
    """A kustomization as the README has it."""
    with tempfile.TemporaryDirectory() as directory:
        # Only relative paths are allowed.
        path = os.path.relpath(DEPLOY, os.path.realpath(directory))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "namePrefix": prefix,
            "resources": [f"{path}/{base}"],
            "components": [f"{path}/components/{name}" for name in components],
        }
        (pathlib.Path(directory) / "kustomization.yaml").write_text(json.dumps(kustomization))
        return kustomize(directory)


def together(values):
    """Several values as one."""
    merged = {}
    for each in values:
        for key, value in each.items():
            is_table = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = together([merged[key], value]) if is_table else value
    return merged


def name(item):
    metadata = item["metadata"]
    return "/".join([item["kind"], metadata.get("namespace", ""), metadata["name"]])


def by_name(items):
    named = {name(item): item for item in items}
    assert len(named) == len(items), "two objects of one name"
    return named


def helms(items):
    """A release's objects, without what only Helm's have: three labels, of which kustomize has one with its own name."""
    items = copy.deepcopy(items)
    for item in items:
        labels = item["metadata"]["labels"]
        del labels["helm.sh/chart"], labels["app.kubernetes.io/instance"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm", name(item)
        labels["app.kubernetes.io/managed-by"] = "kustomize"
    return by_name(items)


def kustomizes(items, prefix=""):
    """
    Kustomize's objects, without what only kustomize's have: the Namespace, the namespace of admission policies and of
    SecurityContextConstraints, which are in none, a prefix of the quota, whose name is that of the priority class, and
    annotations that are there and empty.
    """
    items = [item for item in copy.deepcopy(items) if item["kind"] != "Namespace"]
    for item in items:
        if item["kind"] in IN_NO_NAMESPACE:
            item["metadata"].pop("namespace", None)
        if item["kind"] == "ResourceQuota":
            item["metadata"]["name"] = item["metadata"]["name"].removeprefix(prefix)
        metadata = item.get("spec", {}).get("template", {}).get("metadata", {})
        if metadata.get("annotations") == {}:
            del metadata["annotations"]
    return by_name(items)


def differences(one, other, path=""):
    """Where two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted(one.keys() | other.keys()):
            if key in one and key in other:
                found += differences(one[key], other[key], f"{path}/{key}")
            else:
                found.append(f"{path}/{key} is only in {'the chart' if key in one else 'deploy/'}")
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [each for i, pair in enumerate(zip(one, other)) for each in differences(*pair, f"{path}/{i}")]
    # 1 and True are equal in Python.
    if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        return [f"{path}: the chart has {json.dumps(one)}, deploy/ has {json.dumps(other)}"]
    return []


def leaves(value, path=()):
    """The path to each leaf."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = list(inside)
    return [leaf for key, each in inside for leaf in leaves(each, (*path, key))] if inside else [path]


class Rendered(unittest.TestCase):
    maxDiff = None

    def same(self, values, items, namespace="reloadlet", release="reloadlet", prefix=""):
        found = differences(helms(helm(values, namespace, release)), kustomizes(items, prefix))
        if found:
            self.fail("\n" + "\n".join(found))

    def test_without_values_it_is_what_deploy_is(self):
        self.same({}, kustomize(DEPLOY))

    def test_each_overlay_is_a_value(self):
        for overlay in names_in(DEPLOY / "overlays"):
            with self.subTest(overlay):
                values = OVERLAYS.get(overlay) or COMPONENTS[overlay]
                self.same(values, kustomize(DEPLOY / "overlays" / overlay))

    def test_each_component_is_a_value_and_each_value_changes_something(self):
        self.assertEqual(sorted(COMPONENTS), names_in(DEPLOY / "components"))
        plain = helm({})
        for component, values in COMPONENTS.items():
            with self.subTest(component):
                # It is for the controller, and says nothing without.
                components = ["controller"] * (component == "controller-secrets") + [component]
                self.same(values, own_kustomization(components))
                self.assertNotEqual(helm(values), plain)

    def test_the_controller_alone_is_a_value(self):
        self.same({**WITHOUT_AGENTS, **CONTROLLER}, kustomize(DEPLOY / "controller"))

    def test_all_values_together_are_all_components_in_another_namespace_by_another_name(self):
        namespace, release = ELSEWHERE
        for without in ["k0s", "microk8s"]:
            components = [each for each in COMPONENTS if each != without]
            items = own_kustomization(components, namespace, f"{release}-")
            values = together(COMPONENTS[each] for each in components)
            with self.subTest(without=without):
                self.same(values, items, namespace, release, f"{release}-")

    def test_a_field_that_differs_is_found_whichever_it_is(self):
        values = together([ACCELERATION, CONTROLLER_SECRETS, OPENSHIFT, NETWORKPOLICY, PODMONITOR])
        items = helms(helm(values))
        self.assertEqual(differences(items, copy.deepcopy(items)), [])
        tried = 0
        for item in items.values():
            changed = copy.deepcopy(item)
            for path in leaves(item):
                tried += 1
                place = changed
                for key in path[:-1]:
                    place = place[key]
                before = place[path[-1]]
                for other in [{"another": before}, [before], "another"]:
                    place[path[-1]] = other
                    found = differences(changed, item)
                    self.assertEqual(len(found), 1, path)
                    self.assertTrue(found[0].startswith("/".join(["", *map(str, path)])), found[0])
                del place[path[-1]]
                self.assertNotEqual(differences(changed, item), [], path)
                if isinstance(place, list):
                    place.insert(path[-1], before)
                else:
                    place[path[-1]] = before
        self.assertGreater(tried, 500)
        self.assertEqual(len(differences({}, items)), len(items))
        self.assertEqual(len(differences(items, {})), len(items))


class Names(unittest.TestCase):
    def test_what_looks_like_a_number_stays_a_name(self):
        values = {
            "nameOverride": "0x7",
            "fullnameOverride": "1e3",
            "priorityClassName": "7",
            "serviceAccount": {"name": "12"},
            "controller": {"enabled": True, "serviceAccount": {"name": "13"}, "priorityClassName": "8", "namespaces": ["99"]},
        }
        every = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
        items = helm(together([*COMPONENTS.values(), every, values]), "1234")
        keys = {"name", "namespace", "serviceAccountName", "priorityClassName", "app.kubernetes.io/name", "policyName"}
        lists = {"values", "resourceNames"}
        found = 0
        for item in items:
            for path in leaves(item):
                if path[-1] in keys or path[-2:][0] in lists:
                    value = item
                    for key in path:
                        value = value[key]
                    self.assertIsInstance(value, str, (name(item), path))
                    found += 1
        self.assertGreater(found, 100)


class Fences(unittest.TestCase):
    def test_each_policy_is_for_the_account_that_is_installed(self):
        enabled = together([ACCELERATION, CONTROLLER])
        named = {"serviceAccount": {"name": "agents"}, "controller": {"serviceAccount": {"name": "rolls"}}}
        for namespace, release, values, agents, controllers in [
            ("reloadlet", "reloadlet", {}, "reloadlet", "reloadlet-controller"),
            ("platform", "prod", {}, "prod-reloadlet", "prod-reloadlet-controller"),
            ("platform", "prod", {"fullnameOverride": "x"}, "x", "x-controller"),
            ("platform", "prod", {"nameOverride": "reload"}, "prod-reload", "prod-reload-controller"),
            ("platform", "prod", named, "agents", "rolls"),
        ]:
            with self.subTest(namespace=namespace, release=release, values=values):
                items = helm(together([enabled, values]), namespace, release)
                of = lambda kind: {item["metadata"]["name"]: item for item in items if item["kind"] == kind}
                self.assertEqual(sorted(of("ServiceAccount")), sorted([agents, controllers]))
                self.assertEqual(of("DaemonSet").popitem()[1]["spec"]["template"]["spec"]["serviceAccountName"], agents)
                policies = of("ValidatingAdmissionPolicy")
                bound = {}
                for binding in of("ValidatingAdmissionPolicyBinding").values():
                    spec = binding["spec"]
                    self.assertEqual(spec["paramRef"]["namespace"], namespace)
                    self.assertEqual(spec["validationActions"], ["Deny"])
                    bound[spec["policyName"]] = spec["paramRef"]["name"]
                self.assertEqual(len(policies), 4)
                self.assertEqual(bound.keys(), policies.keys(), "each policy is bound")
                accounts = sorted(bound.values())
                self.assertEqual(accounts, sorted([agents] + [controllers] * 3))
                for each in [*of("ClusterRoleBinding").values(), *of("RoleBinding").values()]:
                    for subject in each["subjects"]:
                        self.assertEqual(subject["namespace"], namespace)
                        self.assertIn(subject["name"], [agents, controllers])


class Monitoring(unittest.TestCase):
    def test_the_rules_and_the_dashboard_are_those_of_deploy(self):
        items = helm({"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}})
        rule, = [item for item in items if item["kind"] == "PrometheusRule"]
        alerts, = read_yaml((DEPLOY / "monitoring" / "alerts.yaml").read_text())
        self.assertEqual(rule["spec"], alerts)
        dashboard, = [item for item in items if item["kind"] == "ConfigMap"]
        file = json.loads((DEPLOY / "monitoring" / "dashboard.json").read_text())
        self.assertEqual(json.loads(dashboard["data"]["reloadlet.json"]), file)
        self.assertEqual(list(dashboard["data"]), ["reloadlet.json"])


class Refused(unittest.TestCase):
    def refused(self, values, *said, more=(), image=IMAGE):
        output = template(together([{"image": image}, values]), more=more)
        self.assertNotEqual(output.returncode, 0, f"taken: {values}")
        for text in said:
            self.assertIn(text, output.stderr, values)

    def test_without_an_image(self):
        self.refused({}, "at '/image/registry': got null, want string", "at '/image/repository'", image={})
        sentence = "Set image.registry and image.repository to where your image of reloadlet is"
        for values in [{}, {**WITHOUT_AGENTS, **CONTROLLER}]:
            self.refused(values, sentence, more=["--skip-schema-validation"], image={})
        for registry in ["", "myregistry", "registry.example/team", "https://registry.example"]:
            self.refused({}, "at '/image/registry'", image={"registry": registry, "repository": "reloadlet"})
        for registry in ["registry.example", "registry.example:5000", "registry:5000", "localhost", "[::1]:5000"]:
            output = template({"image": {"registry": registry, "repository": "reloadlet"}})
            self.assertEqual(output.returncode, 0, output.stderr)

    def test_a_surge(self):
        self.refused(
            {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}},
            "at '/updateStrategy/rollingUpdate': additional properties 'maxSurge' not allowed",
        )

    def test_keys_that_nobody_knows(self):
        self.refused({"kubeletRootDir": "/var/lib/kubelet"}, "additional properties 'kubeletRootDir' not allowed")
        self.refused({"controller": {"enable": True}}, "at '/controller': additional properties 'enable' not allowed")
        self.refused({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed")
        self.refused({"tolerations": [{"keys": "a"}]}, "at '/tolerations/0': additional properties 'keys' not allowed")
        self.refused({"resources": {"request": {}}}, "at '/resources': additional properties 'request' not allowed")
        self.refused({"affinity": {"nodeAffinity": {"required": []}}}, "at '/affinity/nodeAffinity'")
        self.refused({"extraEnv": [{"name": "A", "valueFrom": {"secret": {}}}]}, "at '/extraEnv/0/valueFrom'")

    def test_values_of_another_type(self):
        for values, place in [
            ({"acceleration": {"enabled": "yes"}}, "/acceleration/enabled"),
            ({"acceleration": True}, "/acceleration"),
            ({"architectures": "arm64"}, "/architectures"),
            ({"architectures": []}, "/architectures"),
            ({"architectures": ["x86"]}, "/architectures/0"),
            ({"commonLabels": {"a": 1}}, "/commonLabels/a"),
            ({"commonLabels": {"a": "no blanks"}}, "/commonLabels/a"),
            ({"podAnnotations": {"a": True}}, "/podAnnotations/a"),
            ({"controller": {"replicas": "2"}}, "/controller/replicas"),
            ({"controller": {"namespaces": "shop"}}, "/controller/namespaces"),
            ({"controller": {"namespaces": ["shop", "shop"]}}, "/controller/namespaces"),
            ({"controller": {"namespaces": ["a,b"]}}, "/controller/namespaces/0"),
            ({"extraArgs": "--dry-run"}, "/extraArgs"),
            ({"image": {"tag": 7}}, "/image/tag"),
            ({"image": {"tag": "a b"}}, "/image/tag"),
            ({"image": {"digest": "7"}}, "/image/digest"),
            ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
            ({"image": {"repository": "UPPER"}}, "/image/repository"),
            ({"kubeletRoot": "var/lib/kubelet"}, "/kubeletRoot"),
            ({"kubeletRoot": "/var/lib/kubelet/"}, "/kubeletRoot"),
            ({"log": {"level": "loud"}}, "/log/level"),
            ({"minReadySeconds": -1}, "/minReadySeconds"),
            ({"resources": {"limits": {"memory": "96 Mi"}}}, "/resources/limits/memory"),
            ({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}, "/updateStrategy/rollingUpdate/maxUnavailable"),
            ({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "10"}}}, "/updateStrategy/rollingUpdate/maxUnavailable"),
            ({"updateStrategy": {"type": "Recreate"}}, "/updateStrategy/type"),
        ]:
            with self.subTest(values):
                self.refused(values, f"at '{place}'")

    def test_values_that_cant_be_together(self):
        old = ["--kube-version", "1.31.9"]
        self.refused(ACCELERATION, "acceleration.enabled needs Kubernetes 1.32 or newer, and this is v1.31.9.", more=old)
        for version in ["1.30.0", "1.31.9-eks-1", "1.38.0-beta.0"]:
            output = template({"image": IMAGE}, more=["--kube-version", version])
            self.assertEqual(output.returncode, 0, output.stderr)
        self.refused({}, "chart requires kubeVersion: >=1.30.0-0", more=["--kube-version", "1.29.9"])
        self.refused(WITHOUT_AGENTS, "Nothing is left to install: set agent.enabled or controller.enabled.")
        self.refused({"acceleration": {"spread": "30s"}}, "acceleration.spread is for acceleration.enabled")
        self.refused({**ACCELERATION, **NO_CONFIGMAPS}, "has nothing to accelerate without configMaps.read or secrets.measure")
        one = {"serviceAccount": {"name": "a"}, "controller": {"enabled": True, "serviceAccount": {"name": "a"}}}
        self.refused(one, "Agents and controller need two accounts")
        for annotations in [{"reloadlet.io/rollout": "true"}, {"configmap.reloader.stakater.com/reload": "web"}]:
            for asks in [{"commonAnnotations": annotations}, {"controller": {"podAnnotations": annotations}}]:
                self.refused(together([CONTROLLER, asks]), "its own Deployment, which therefore mustn't ask to be rolled")
        self.assertTrue(helm({"commonAnnotations": {"reloadlet.io/rollout": "true"}}), "without a controller it means nothing")

    def test_what_a_parent_chart_says_to_all_of_its_parts_is_taken_and_changes_nothing(self):
        self.assertEqual(helm({"global": {"imageRegistry": "registry.example", "more": {"a": [1]}}}), helm({}))


class Files(unittest.TestCase):
    schema = json.loads((CHART / "values.schema.json").read_text())

    def resolved(self, schema):
        reference = schema.get("$ref")
        return self.schema["definitions"][reference.removeprefix("#/definitions/")] if reference else schema

    def test_the_schema_takes_no_key_that_it_doesnt_name(self):
        def walk(schema, path):
            if isinstance(schema, list):
                for index, each in enumerate(schema):
                    walk(each, f"{path}/{index}")
            elif isinstance(schema, dict):
                # What a parent chart says to all of its parts is its own affair.
                if schema.get("type") == "object" and path != "/properties/global":
                    self.assertIn("additionalProperties", schema, path)
                    # Labels and their like: any key, but not any value.
                    extra = schema["additionalProperties"]
                    self.assertTrue(extra is False or (isinstance(extra, dict) and extra), path)
                for key, each in schema.items():
                    walk(each, f"{path}/{key}")

        walk(self.schema, "")

    def test_the_schema_has_each_value_and_no_other(self):
        values, = read_yaml((CHART / "values.yaml").read_text())

        def walk(value, schema, path):
            properties = self.resolved(schema).get("properties")
            if isinstance(value, dict) and value and properties:
                self.assertEqual(set(value), set(properties) - {"global"}, path)
                for key in value:
                    walk(value[key], properties[key], f"{path}.{key}")

        walk(values | {"resources": {}, "controller": values["controller"] | {"resources": {}}}, self.schema, "")

    def test_each_value_has_a_test(self):
        values, = read_yaml((CHART / "values.yaml").read_text())
        free = {"resources", "tolerations", "dashboard.labels", "controller.resources"}

        def names(value, path):
            if isinstance(value, dict) and value and path not in free:
                return [each for key in value for each in names(value[key], f"{path}.{key}".lstrip("."))]
            return [path]

        tried = set()
        for file in (CHART / "tests").glob("*_test.yaml"):
            suite, = read_yaml(file.read_text())
            for case in [suite, *suite["tests"]]:
                tried |= set(case.get("set", {}))
        self.assertEqual([each for each in names(values, "") if each not in tried], [])

    def test_its_version_is_the_programs(self):
        chart, = read_yaml((CHART / "Chart.yaml").read_text())
        version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
        self.assertEqual((chart["version"], chart["appVersion"]), (version, version))


if __name__ == "__main__":
    unittest.main()
