//! Segment's own TypeScript SDK against the sample APIs, without a gateway between them.
//!
//! Needs node and the packages of `tests/sdk/package.json`, so it runs on request only:
//! `npm --prefix tests/sdk install --no-package-lock && cargo test --test sdk -- --ignored`

use std::path::Path;
use std::process::Command;

use tokio::net::TcpListener;
use tollgate::sample::SampleApi;

#[test]
#[ignore = "needs node and npm packages"]
fn the_sdk_understands_every_answer_of_the_sample_apis() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut command = Command::new("node");
    command.arg("run.js").current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk"));
    command.env_remove("TOLLGATE_DEMO");
    let output = runtime.block_on(async {
        for (region, name) in [("us", "TOLLGATE_BASE_US"), ("eu", "TOLLGATE_BASE_EU")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            command.env(name, format!("http://{}", listener.local_addr().unwrap()));
            tokio::spawn(SampleApi::serve(listener, region, std::future::pending()));
        }
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    });
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    print!("{text}");
}
