//! Passes nginx's configured features and version on as `cfg`s, as the ngx crate's examples do.

use std::env;

/// First versions in which a structure that the module writes looks different.
const VERSIONS: &[(u64, &str)] = &[
    // ngx_table_elt_t.next (header lists)
    (1_023_000, "nginx1_23_0"),
    // proxy_pass_trailers: pass_trailers becomes a flag of the configuration
    (1_027_002, "nginx1_27_2"),
    // server ... resolve: ngx_http_upstream_rr_peer_t.host
    (1_027_003, "nginx1_27_3"),
    // keepalive wraps peer.init when the configuration is complete
    (1_029_007, "nginx1_29_7"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    cfg_from("DEP_NGINX_FEATURES", "DEP_NGINX_FEATURES_CHECK", "ngx_feature");
    versions();
}

/// nginx-sys lists what `./configure` switched on in a metadata variable.
fn cfg_from(variable: &str, check: &str, name: &str) {
    println!("cargo::rerun-if-env-changed={variable}");
    println!("cargo::rerun-if-env-changed={check}");
    let values = env::var(check).unwrap_or_else(|_| "any()".to_owned());
    println!("cargo::rustc-check-cfg=cfg({name}, values({values}))");
    let features = env::var(variable).unwrap_or_default();
    for feature in features.split(',').map(str::trim).filter(|feature| !feature.is_empty()) {
        println!("cargo::rustc-cfg={name}=\"{feature}\"");
    }
}

fn versions() {
    const VARIABLE: &str = "DEP_NGINX_VERSION_NUMBER";
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let number = env::var(VARIABLE).ok().and_then(|number| number.parse::<u64>().ok());
    for (since, name) in VERSIONS {
        println!("cargo::rustc-check-cfg=cfg({name})");
        if number.is_some_and(|number| number >= *since) {
            println!("cargo::rustc-cfg={name}");
        }
    }
}
