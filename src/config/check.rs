//! Every room's check of its section, and what only several sections together can get wrong.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::doubts::doubts;
use super::file::{Config, File};
use super::redaction::Redaction;
use crate::central_store::RegionServer;
use crate::domain::{Problems, Region, Regions};
use crate::place::{ModeSetting, Places, RegionSettings, key_part};
use crate::routing::{EndpointRow, Table};
use crate::upstream::RegionServers;
use crate::{
    admin, authentication, central_store, input, journal, limits, listen, notifications, reply,
    secret_scanning, telemetry, tokens, upstream,
};

/// Problems of limits and input rules that name something of the endpoint table.
pub(super) const OF_ENDPOINTS: [&str; 3] =
    ["limit_operation_unknown", "limit_parameter_unknown", "input_operation_unknown"];

/// Every room's check, so that all mistakes are found in one run.
pub(super) fn check(
    file: &File,
    rows: &[(String, EndpointRow)],
    folder: &Path,
    problems: &mut Problems,
    warnings: &mut Problems,
) -> Option<Config> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let listen = listen::from_settings(&file.listen, folder, cores, problems);
    let admin = admin::from_settings(&file.admin, problems);
    let places = Places::from_settings(&file.regions, &file.place, problems);
    let upstream = upstream::from_settings(&file.upstream, &servers(file, problems), folder, problems);
    let table = Table::from_rows(rows, &file.endpoints, problems);
    let tokens = tokens::Rules::from_settings(&file.tokens, folder, problems);
    let journal = journal::from_settings(&file.journal, folder, problems);
    let redis = redis(file, folder, problems);
    let notifications = notifications::from_settings(&file.notifications, folder, problems);
    let regions = places.as_ref().map_or_else(|| named(&file.regions), |places| places.regions().clone());
    let fence =
        (file.place.mode == ModeSetting::Fence).then(|| regions.by_name(&file.place.region)).flatten();
    let authentication =
        authentication::from_settings(&file.authentication, &regions, fence, folder, problems);
    let before = problems.0.len();
    let endpoints = table.as_ref().map_or(&[][..], Table::endpoints);
    let limits = limits::Rules::from_settings(&file.limits, endpoints, problems);
    doubts(file, table.as_ref().map(Table::endpoints), folder, warnings);
    for problem in problems.0.iter_mut().skip(before).chain(&mut warnings.0) {
        problem.key = written_row(&problem.key, rows);
    }
    let saving = limits_saving(file, folder, problems);
    let input = input::Rules::from_settings(&file.input, endpoints, folder, problems);
    if table.is_none() {
        problems.0.retain(|problem| !OF_ENDPOINTS.contains(&problem.code));
    }
    let secret_scanning =
        secret_scanning::from_settings(&file.secret_scanning, places.as_ref(), folder, problems);
    let logs = telemetry::from_settings(&file.logs, folder, problems);
    let replies = reply::from_settings(&file.replies, problems);
    if let (Some(listen), Some(admin)) = (&listen, &admin) {
        apart(listen, admin, problems);
    }
    Some(Config {
        files: Vec::new(),
        warnings: Vec::new(),
        redaction: Redaction::default(),
        rows: rows.iter().map(|(_, row)| row).chain(&file.endpoints.extra).cloned().collect(),
        written: file.clone(),
        listen: listen?,
        admin: admin?,
        places: places?,
        upstream: upstream?,
        table: table?,
        tokens: tokens?,
        journal: journal?,
        redis: redis?,
        notifications: notifications?,
        authentication: authentication?,
        limits: Arc::new(limits?),
        limits_saving: saving?,
        retry_after_ceiling_seconds: file.limits.retry_after_ceiling_seconds,
        input: input?,
        secret_scanning,
        logs: logs?,
        replies: replies?,
    })
}

/// The Redis servers of the regions that this gateway serves.
fn redis(file: &File, folder: &Path, problems: &mut Problems) -> Option<Vec<central_store::Server>> {
    if file.regions_written && !file.redis.address.expose().is_empty() {
        problems.add(
            "redis.address",
            "redis_address_unused",
            "with `[regions]`, each region has a server of its own, and this one would be used by none",
            "move it to the `redis` of its region",
        );
    }
    let is_served = |name: &str| file.place.mode == ModeSetting::Route || file.place.region == name;
    let of_region = |(name, region): &'_ (String, RegionSettings)| {
        let (key, address) = if file.regions_written {
            (format!("regions.{}.redis", key_part(name)), region.redis.clone())
        } else {
            ("redis.address".to_owned(), file.redis.address.clone())
        };
        RegionServer { region: name.clone(), key, address, is_served: is_served(name) }
    };
    let regions: Vec<RegionServer> = file.regions.iter().map(of_region).collect();
    central_store::from_settings(&file.redis, &regions, folder, problems)
}

/// Where the state of limits is saved, which is no file that another section has.
fn limits_saving(file: &File, folder: &Path, problems: &mut Problems) -> Option<limits::Saving> {
    let (tokens, journal) = (&file.tokens, &file.journal);
    let taken = [
        ("tokens.store", tokens.store.file().unwrap_or(Path::new(""))),
        ("tokens.pepper_file", &tokens.pepper_file),
        ("tokens.snapshot_file", &tokens.snapshot_file),
        ("journal.file", &journal.file),
    ];
    limits::Saving::from_settings(&file.limits, folder, &taken, problems)
}

/// Each region's upstream servers, and whether this gateway needs them.
fn servers(file: &File, problems: &mut Problems) -> Vec<RegionServers> {
    if file.regions_written && !file.upstream.servers.is_empty() {
        problems.add(
            "upstream.servers",
            "servers_unused",
            "with `[regions]`, each region has upstreams of its own, and these would be used by none",
            "move them to the `upstreams` of their region",
        );
    }
    let served = |name: &str| file.place.mode == ModeSetting::Route || file.place.region == name;
    let of_region = |(name, region): &(String, RegionSettings)| RegionServers {
        name: name.as_str().into(),
        key: if file.regions_written {
            format!("regions.{}.upstreams", key_part(name))
        } else {
            "upstream.servers".to_owned()
        },
        urls: region.upstreams.clone(),
        served: served(name),
    };
    file.regions.iter().map(of_region).collect()
}

/// The regions by name alone, for the checks of other sections where the regions have mistakes of their own.
fn named(regions: &[(String, RegionSettings)]) -> Regions {
    let region = |(name, region): &(String, RegionSettings)| Region {
        name: name.as_str().into(),
        letter: region.letter,
        base_url: region.base_url.as_str().into(),
    };
    Regions::new(regions.iter().map(region).collect())
}

/// The key of an endpoint as its file has it; `limits` knows only its place in the whole table.
fn written_row(key: &str, rows: &[(String, EndpointRow)]) -> String {
    let inner = || {
        let (place, rest) = key.strip_prefix("endpoints[")?.split_once(']')?;
        let place: usize = place.parse().ok()?;
        let row = rows.get(place).map(|(row, _)| row.clone());
        let row = row.unwrap_or_else(|| format!("endpoints.extra[{}]", place.saturating_sub(rows.len())));
        Some(format!("{row}{rest}"))
    };
    inner().unwrap_or_else(|| key.to_owned())
}

/// Callers and operators do not share an address.
fn apart(listen: &listen::Checked, admin: &admin::Checked, problems: &mut Problems) {
    let public = listen.plain.iter().chain(listen.tls.iter().map(|(at, _)| at)).map(|at| at.address);
    let meets = |public: SocketAddr| {
        let admin = admin.address();
        public.port() != 0
            && public.port() == admin.port()
            && (public.ip() == admin.ip() || public.ip().is_unspecified())
    };
    if public.into_iter().any(meets) {
        problems.add(
            "admin.address",
            "address_taken",
            "`[listen]` has this port already",
            "give operators a port of their own, for example `127.0.0.1:9901`",
        );
    }
}
