//! The ways by which containers come by objects.

use reloadlet_manifest::WorkloadKind;

use super::said;

#[test]
fn each_way_is_shown_with_what_a_change_does() {
    let text = r#"apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, annotations: {reloadlet.io/signal: SIGHUP, reloadlet.io/container: app}}
spec:
  containers:
  - name: app
    args: ["--level=$(LEVEL)"]
    env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: levels, key: level}}}]
    envFrom: [{prefix: APP_, secretRef: {name: login}}]
    volumeMounts:
    - {name: config, mountPath: /config}
    - {name: config, mountPath: /one, subPath: one.conf}
    - {name: both, mountPath: /both}
    - {name: vault, mountPath: /vault}
    - {name: spiffe, mountPath: /spiffe}
    - {name: open, mountPath: /open}
  initContainers:
  - {name: setup, envFrom: [{configMapRef: {name: setup}}], volumeMounts: [{name: config, mountPath: /config}]}
  - {name: mesh, restartPolicy: Always, volumeMounts: [{name: config, mountPath: /config}]}
  ephemeralContainers:
  - {name: debug, volumeMounts: [{name: config, mountPath: /config}]}
  volumes:
  - {name: config, configMap: {name: config}}
  - {name: both, projected: {sources: [{configMap: {name: one}}, {secret: {name: two}}]}}
  - {name: vault, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: vault}}}
  - {name: spiffe, csi: {driver: csi.spiffe.io, readOnly: true}}
  - {name: open, csi: {driver: csi.example.org}}
  - {name: spare, secret: {secretName: spare}}
"#;
    let expected = "\
Pod shop/web  (web.yaml:1)
  CONTAINER  OBJECT                       BY         ON A CHANGE  WHY
  app        ConfigMap levels (level)     env        never        frozen-env
  app        Secret login                 envfrom    never        frozen-env
  app        ConfigMap levels (level)     args       never        frozen-args
  app        ConfigMap config             directory  SIGHUP
  app        ConfigMap config (one.conf)  subpath    never        frozen-subpath
  app        ConfigMap one                projected  SIGHUP
  app        Secret two                   projected  SIGHUP
  app        SecretProviderClass vault    csi        SIGHUP
  app        CSI driver csi.spiffe.io     csi        SIGHUP
  app        CSI driver csi.example.org   csi        never        csi-writable
  setup      ConfigMap setup              envfrom    never        init-container
  setup      ConfigMap config             directory  never        init-container
  mesh       ConfigMap config             directory  never        sidecar
  debug      ConfigMap config             directory  never        ephemeral-container
  -          Secret spare                 unmounted  never        unmounted
";
    let said = said(&[("web.yaml", text)]);
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn each_kind_of_workload_is_read_to_its_pods() {
    let template = "{metadata: {annotations: {reloadlet.io/signal: HUP}}, spec: {containers: [{name: app, \
                    volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, secret: {secretName: login}}]}}";
    for kind in WorkloadKind::ALL {
        let metadata = "metadata: {name: web, namespace: shop}";
        let (version, rest) = match kind {
            WorkloadKind::Pod => {
                let own = template.replacen("metadata: {", "metadata: {name: web, namespace: shop, ", 1);
                ("v1", own[1..own.len() - 1].replacen(", spec: ", "\nspec: ", 1))
            }
            WorkloadKind::PodTemplate => ("v1", format!("{metadata}\ntemplate: {template}")),
            WorkloadKind::CronJob => {
                ("batch/v1", format!("{metadata}\nspec: {{jobTemplate: {{spec: {{template: {template}}}}}}}"))
            }
            WorkloadKind::Deployment
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::ReplicaSet => ("apps/v1", format!("{metadata}\nspec: {{template: {template}}}")),
            WorkloadKind::ReplicationController => {
                ("v1", format!("{metadata}\nspec: {{template: {template}}}"))
            }
            WorkloadKind::Job => ("batch/v1", format!("{metadata}\nspec: {{template: {template}}}")),
            WorkloadKind::Rollout => {
                ("argoproj.io/v1alpha1", format!("{metadata}\nspec: {{template: {template}}}"))
            }
            WorkloadKind::DeploymentConfig => {
                ("apps.openshift.io/v1", format!("{metadata}\nspec: {{template: {template}}}"))
            }
        };
        let expected = format!(
            "\
{kind} shop/web  (web.yaml:1)
  CONTAINER  OBJECT        BY         ON A CHANGE  WHY
  app        Secret login  directory  SIGHUP

1 workload
"
        );
        assert_eq!(
            said(&[("web.yaml", &format!("apiVersion: {version}\nkind: {kind}\n{rest}\n"))]),
            expected
        );
    }
}
