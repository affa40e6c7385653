//! What the demo writes: its configuration, its guide, its environment file and its line of JSON.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Ready;
use super::data::DemoToken;
use super::github::{KEYS_FILE, PATH};
use super::ports::Ports;
use super::servers::{InboxServers, Servers};
use crate::cli::Error;

/// How owners are told: by the mail server and the webhook beside the gateway.
fn notifications(mail_port: u16) -> String {
    format!(
        r#"
[notifications]
allow_private_addresses = true
webhook_ca_file = "ca.pem"

[notifications.smtp]
host = "127.0.0.1"
port = {mail_port}
encryption = "none"
from = "tollgate@demo.example"

"#
    )
}

/// The configuration of the demo's gateway; `serve` and every other command work with it.
pub(super) fn configuration(ports: Ports, servers: &Servers) -> String {
    let Ports { plain, tls, admin } = ports;
    let [(_, us), (_, eu)] = &servers.upstreams;
    let Servers { issuer, jwks_uri, audience, inbox: InboxServers { mail_port, .. }, .. } = servers;
    let notifications = notifications(*mail_port);
    format!(
        r#"# The configuration of `tollgate demo`. Every key with its default: config/README.md of tollgate.

[listen]
plain = ["127.0.0.1:{plain}"]
tls = [{{ address = "127.0.0.1:{tls}", certificates = [{{ chain_file = "cert.pem", key_file = "key.pem" }}] }}]

[admin]
address = "127.0.0.1:{admin}"

[regions.us]
letter = "u"
base_url = "http://127.0.0.1:{plain}"
upstreams = [{us:?}]

[regions.eu]
letter = "e"
base_url = "http://127.0.0.1:{plain}"
upstreams = [{eu:?}]

[endpoints]
tables = ["endpoints.toml"]

[[endpoints.extra]]
operation = "sampleRaw"
method = "ANY"
path = "/sample/raw/{{*rest}}"

[[limits.policies]]
name = "default"
per = ["token"]
quota = "6000 per minute"

[[limits.policies]]
name = "workspace"
per = ["workspace"]
quota = "30000 per minute"

[limits.failed_authentications]
exempt = ["127.0.0.0/8", "::1/128"]

[[input.rules]]
operation = "updateSchemaSettingsInSource"
schema_file = "schema-settings.json"

[secret_scanning]
path = {PATH:?}
keys_file = {KEYS_FILE:?}
{notifications}[[authentication.issuers]]
issuer = {issuer:?}
audiences = [{audience:?}]
jwks_uri = {jwks_uri:?}
regions = ["us", "eu"]
plans = ["business"]

[replies]
documentation_url = "https://docs.segmentapis.com"

[logs]
format = "text"
level = "warn"
destination = "stderr"
"#
    )
}

/// The line that scripts read.
pub(super) fn json(ready: &Ready) -> Value {
    let token = |token: &DemoToken| {
        let DemoToken { name, id, token, workspace, region } = token;
        let value = json!({"id": id, "token": token.expose(), "workspace": workspace, "region": region});
        ((*name).to_owned(), value)
    };
    let tokens: Map<String, Value> = ready.tokens.iter().map(token).collect();
    let upstreams: Map<String, Value> =
        ready.upstreams.iter().map(|(region, url)| (region.clone(), url.clone().into())).collect();
    json!({
        "public": ready.public,
        "public_tls": ready.public_tls,
        "ca_file": ready.ca_file,
        "admin": ready.admin,
        "operator_token": ready.operator_token.expose(),
        "config_file": ready.config_file,
        "data": ready.data,
        "tokens": tokens,
        "jwt": ready.jwt,
        "upstreams": upstreams,
        "github": {
            "path": PATH,
            "key_identifier": ready.github.key_identifier(),
            "private_key_file": ready.github.private_key_file(),
        },
    })
}

/// Shell variables for the guide's commands.
pub(super) fn environment(ready: &Ready) -> String {
    let mut text = String::new();
    let mut set = |name: &str, value: &str| {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "export {name}='{value}'");
    };
    set("TOLLGATE_URL", &ready.public);
    set("TOLLGATE_TLS_URL", &ready.public_tls);
    set("TOLLGATE_CA", &ready.ca_file.display().to_string());
    set("TOLLGATE_ADMIN", &ready.admin);
    set("TOLLGATE_DATA", &ready.data.display().to_string());
    set("TOLLGATE_OPERATOR_TOKEN", ready.operator_token.expose());
    set("TOLLGATE_CONFIG", &ready.config_file.display().to_string());
    for token in &ready.tokens {
        let name = format!("TOKEN_{}", token.name.to_ascii_uppercase());
        set(&name, token.token.expose());
        set(&format!("{name}_ID"), &token.id);
    }
    set("TOKEN_OWNER_JWT", ready.owner_jwt.expose());
    text
}

/// What a person needs to try it.
pub(super) fn print(ready: &Ready, environment: &Path, out: &mut dyn Write) -> Result<(), Error> {
    let Ready { public, public_tls, admin, .. } = ready;
    let operator = ready.operator_token.expose();
    for note in &ready.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(
        out,
        r#"tollgate demo is ready

  API          {public}   (TLS and HTTP/2: {public_tls})
  status page  {admin}/#token={operator}
  Ctrl-C ends it. In another terminal, first:

    source {environment}

  A workspace in the US and one in the EU, each sent to its own region:

    curl -i -H "Authorization: Bearer $TOKEN_US" "$TOLLGATE_URL/sources?pagination.count=2"
    curl -i --cacert "$TOLLGATE_CA" -H "Authorization: Bearer $TOKEN_EU" "$TOLLGATE_TLS_URL/sources"

  A revoked token (401), a limit of 5 a minute (429 at the sixth), a browser's preflight (403):

    curl -i -H "Authorization: Bearer $TOKEN_REVOKED" "$TOLLGATE_URL/sources"
    for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\n' -H "Authorization: Bearer $TOKEN_TINY_LIMIT" "$TOLLGATE_URL/sources"; done
    curl -i -X OPTIONS -H 'Origin: https://app.example' -H 'Access-Control-Request-Method: GET' "$TOLLGATE_URL/sources"

  Who a token is, and what it has left:

    curl -s -H "Authorization: Bearer $TOKEN_EU" "$TOLLGATE_URL/tollgate/v1/whoami"
    curl -s -H "Authorization: Bearer $TOKEN_US" "$TOLLGATE_URL/tollgate/v1/limits"

  A token that leaks into a public repository, with a stopwatch:

    tollgate demo leak

  An owner of the workspace in the US makes a token, by a JWT of the demo's issuer:

    curl -s -H "Authorization: Bearer $TOKEN_OWNER_JWT" -H 'Content-Type: application/json' -d '{{"name":"ci"}}' "$TOLLGATE_URL/tollgate/v1/tokens"

  The admin API, as an operator (its description: /openapi.json):

    curl -s -H "Authorization: Bearer $TOLLGATE_OPERATOR_TOKEN" "$TOLLGATE_ADMIN/v1/tokens?workspace=demo-us"

  Segment's own SDK (npm install @segment/public-api-sdk-typescript), as demo.js:

    const api = require('@segment/public-api-sdk-typescript');
    const apis = api.configureApis(process.env.TOKEN_US);
    for (const name of Object.keys(apis)) apis[name].basePath = process.env.TOLLGATE_URL;
    api.unwrap(apis.sources.listSources({{ count: 2 }}))
      .then((data) => console.log(data))
      .catch((error) => console.error(error));"#,
        environment = environment.display(),
    )?;
    Ok(())
}
