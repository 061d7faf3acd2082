# One recipe for each step of .ci/run, which holds the commands and can do without just; then the rest of a day's work.

# The recipes and what they do.
default:
    @just --list --unsorted

# Formatting, checked and not changed.
fmt:
    .ci/run fmt

# Lints in every target, warnings refused.
clippy:
    .ci/run clippy

# Every test in the workspace.
test:
    .ci/run test

# The documentation, with no broken link in it.
doc:
    .ci/run doc

# What the dependencies are, what their licences say, where they come from.
deny:
    .ci/run deny

# What stands outside the workspace still builds.
generated:
    .ci/run generated

# All of the above, as it runs before a change lands.
ci:
    .ci/run

# Known vulnerabilities among the dependencies (not in ci: it downloads the RustSec database).
advisories:
    cargo deny --locked check advisories

# Kill the binary at every step, before every call that changes a file, and at random; in every store, with every
# rotation. Prints a table; seeds and numbers are CRASH_SEED and CRASH_KILLS.
#
# Is a grant ever lost to a kill?
crash kills='1200':
    CRASH_KILLS={{ kills }} cargo test --locked -p perennial-cli --test kills -- --ignored --nocapture
    CRASH_KILLS={{ kills }} cargo test --locked -p perennial-cli --test foreign -- --ignored --nocapture kills

# Random lives of a grant with every fault there is, each checked against the laws: far more of them than a test run has
# time for, at the speed of a release.
#
# Does any seed break a law?
simulate seeds='1000000':
    SIMULATE_SEEDS={{ seeds }} cargo test --profile simulate --locked -p perennial --test simulator no_seed -- --nocapture

# One law broken at a time, or those that are named: prints a table; SEEDS is how long a mutant may survive.
#
# Does the simulator notice?
mutants *names:
    crates/keeper/tests/simulator/mutants/run.sh {{ if names == "" { "" } else { "--only " + names } }}

# Do fifty processes that want one token present the refresh token once?
race rounds='100':
    RACE_ROUNDS={{ rounds }} cargo test --locked -p perennial-cli --test herd -- --ignored --nocapture
    RACE_ROUNDS={{ rounds }} cargo test --locked -p perennial-cli --test foreign -- --ignored --nocapture races

# A grant's life against the sandbox, on loopback only.
demo:
    cargo run --locked --quiet --bin perennial -- demo

# Measure, and write down what was measured.
bench:
    bench/run.sh

# Costs by the number of connections in a store, and their picture: see docs/performance.md.
scale *counts:
    bench/scale.sh {{ counts }}

# What the daemon costs, beside a bare server: hand-outs, idleness, a storm of refreshes. See docs/performance.md.
serve-bench *arguments:
    bench/serve.sh {{ arguments }}

# cargo-fuzz passes flags that stable refuses (-Zsanitizer=address, coverage). RUSTC_BOOTSTRAP=1 lets the stable
# compiler take them: so no nightly is needed, and what is fuzzed is what ships. Needs `cargo install cargo-fuzz`
# and a C++ compiler. What it finds lies in fuzz/artifacts/ and becomes a test.
#
# Feed one parser random bytes for a while.
fuzz target='token_response' seconds='60':
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{ target }} -- -dict=fuzz/wire.dict -max_total_time={{ seconds }}
