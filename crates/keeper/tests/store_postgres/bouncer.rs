//! PgBouncer in transaction mode: each transaction may meet another backend, and nothing of a session is kept. It is
//! given two backends for all, so that what leaked from one transaction would be met by another.

use super::World;
use super::postgres_server::{PostgresServer, is_installed, own, server, skipped, unprivileged};
use super::sample::{app, connection, holding, refreshing};
use perennial::Store;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

struct Bouncer {
    dir: PathBuf,
    child: Child,
}

impl Bouncer {
    fn before(server: &PostgresServer) -> Option<Self> {
        let program = ["pgbouncer", "/usr/sbin/pgbouncer"].into_iter().find(|program| is_installed(program));
        let Some(program) = program else {
            skipped("pgbouncer is not installed (apt-get install pgbouncer)");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("pgb").tempdir().unwrap().keep();
        own(&dir);
        let settings = format!(
            "[databases]\npostgres = host={server}\n[pgbouncer]\nunix_socket_dir = {dir}\nlisten_port = 5432\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n\
             pidfile = {dir}/pid\n[users]\n",
            server = server.dir().display(),
            dir = dir.display(),
        )
        .replace("postgres = host", "postgres = user=perennial host");
        fs::write(dir.join("ini"), settings).unwrap();
        let mut command = unprivileged(Command::new(program), &dir);
        let mut child = command.arg(dir.join("ini")).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let up = lines.by_ref().map_while(Result::ok).find(|line| line.contains("process up"));
        assert!(up.is_some(), "pgbouncer does not start");
        thread::spawn(move || lines.for_each(drop));
        Some(Self { dir, child })
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn a_pool_in_transaction_mode_does_no_harm() {
    let Some(server) = server() else { return };
    let Some(bouncer) = Bouncer::before(server) else { return };
    let world = World::on(server);
    let url = super::postgres_server::url_by(&bouncer.dir, &world.schema);
    let first = world.open_at(&url);
    for number in 0..8 {
        let name = format!("name-{number}");
        first.add(&holding(&connection(&name), &name), &app("app-1", "one")).unwrap();
    }
    let stores: Vec<_> = (0..4).map(|_| world.open_at(&url)).collect();
    thread::scope(|scope| {
        for (number, store) in stores.iter().cycle().take(8).enumerate() {
            scope.spawn(move || {
                let name = format!("name-{number}");
                for _ in 0..10 {
                    let mut claim = store.try_claim(&name).unwrap().unwrap();
                    let now = claim.read().unwrap();
                    let intended = refreshing(&now, &perennial::request_id());
                    claim.intend(&now.version(), &intended).unwrap();
                    claim.commit(&intended.version(), &holding(&intended, "again")).unwrap();
                    drop(claim);
                    assert_eq!(store.names().unwrap().len(), 8);
                }
            });
        }
    });
    assert_eq!(world.count_in_journal("refreshed"), 80);
    let later = perennial::core::UnixTime(i64::MAX);
    assert_eq!(first.due_batch(later, 100, &BTreeSet::new()).unwrap().len(), 8);
    let backends = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'perennial%' AND query LIKE \
                    '%{s}.%' AND pid <> pg_backend_pid()";
    let backends: u32 = world.sql(backends).parse().unwrap();
    assert!(backends <= 2, "all of it went through {backends} backends");
}
