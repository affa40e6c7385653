//! Where: a workspace's home region, and whether this gateway serves it.
//!
//! Decides from the credential alone, never from what the client says. Invariant: a request is sent to its
//! caller's home region or nowhere. It refuses to know which upstreams a region has and how they are.

use serde::{Deserialize, Serialize};

use crate::authentication::Caller;
use crate::domain::{Problems, Region, RegionId, Regions, UrlText};
use crate::limits::Admission;

/// `[regions.NAME]`: one region. Without any there is one, `main`, whose upstreams are `upstream.servers`.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionSettings {
    /// The letter that the region's tokens carry after their prefix; unique, one of `A-Z a-z 0-9`.
    pub letter: char,
    /// What its callers use as base URL; told to callers who ask the wrong region. Default: none; required of the
    /// other regions where this gateway is a fence.
    #[serde(default)]
    pub base_url: String,
    /// Its upstream servers, for example `http://10.0.0.1:8080`. Default: none; required of every region that this
    /// gateway serves.
    #[serde(default)]
    pub upstreams: Vec<String>,
    /// The Redis or Valkey server in which this region's gateways share limits, for example
    /// `rediss://tollgate:${PASSWORD}@redis.example.com:6379/0`. Default: none; each gateway keeps limits of its own.
    #[serde(default)]
    pub redis: UrlText,
}

/// `[place]`: which regions this gateway serves.
#[derive(Clone, Debug, Default, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `route` serves every region and sends each request home; `fence` serves `region` and answers 421 to
    /// callers of others. Default: `route`.
    pub mode: ModeSetting,
    /// The region that `fence` serves; the home of requests without a caller in `route`. Default: the first region
    /// in `route`; required in `fence`.
    pub region: String,
}

/// How foreign callers are met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModeSetting {
    /// Send each request home.
    #[default]
    Route,
    /// Serve one region only.
    Fence,
}

/// A caller of another region at a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential belongs to another region")]
pub struct WrongRegion(pub RegionId);

/// The regions and this gateway's place among them.
#[derive(Clone, Debug)]
pub struct Places {
    regions: Regions,
    own: RegionId,
    fence: bool,
}

impl Places {
    /// Checks the regions and the place.
    pub fn from_settings(
        regions: &[(String, RegionSettings)],
        settings: &Settings,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.0.len();
        let mut table: Vec<Region> = Vec::new();
        let fence = settings.mode == ModeSetting::Fence;
        if regions.is_empty() {
            problems.add(
                "regions",
                "regions_empty",
                "there is no region",
                "add `[regions.NAME]` with its letter and upstreams, or remove `[regions]`",
            );
        }
        for (name, region) in regions {
            check_region(name, region, &table, problems);
            if fence && region.base_url.is_empty() && *name != settings.region {
                problems.add(
                    format!("regions.{}.base_url", key_part(name)),
                    "base_url_missing",
                    format!("callers of `{name}` would be turned away without being told where to go"),
                    "write the base URL of that region's gateway, for example `https://eu.api.example.com`",
                );
            }
            table.push(Region {
                name: name.as_str().into(),
                letter: region.letter,
                base_url: region.base_url.trim_end_matches('/').into(),
            });
        }
        if regions.len() > 62 {
            problems.add(
                "regions",
                "too_many_regions",
                "there are more than 62 regions",
                "use at most 62: one for each letter",
            );
        }
        let regions = Regions::new(table);
        let own = regions.by_name(&settings.region);
        if own.is_none() && (fence || !settings.region.is_empty()) {
            let names: Vec<&str> = regions.iter().map(|(_, region)| &*region.name).collect();
            problems.add(
                "place.region",
                "region_unknown",
                if settings.region.is_empty() {
                    "`fence` needs the region that this gateway serves".to_owned()
                } else {
                    format!("there is no region `{}`", settings.region)
                },
                format!("use one of {}", names.join(", ")),
            );
        }
        (problems.0.len() == before).then(|| Self { regions, own: own.unwrap_or(RegionId(0)), fence })
    }

    /// Every region.
    pub const fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Whether callers of other regions are refused.
    pub const fn is_fence(&self) -> bool {
        self.fence
    }

    /// Whether callers of a region are served here.
    pub fn serves(&self, region: RegionId) -> Result<(), WrongRegion> {
        if self.fence && region != self.own { Err(WrongRegion(region)) } else { Ok(()) }
    }

    /// The region whose upstream an admitted request goes to.
    pub fn place(&self, admission: &Admission<'_>) -> Result<RegionId, WrongRegion> {
        self.home(admission.permit().caller())
    }

    /// The region of a caller, or of a request without one.
    pub fn home(&self, caller: Option<&Caller>) -> Result<RegionId, WrongRegion> {
        let home = caller.map_or(self.own, |caller| caller.workspace().region);
        self.serves(home).map(|()| home)
    }

    /// The region that is served for whoever has none.
    pub const fn own(&self) -> RegionId {
        self.own
    }
}

/// A region's name as a part of a dotted key, in quotes where it needs them.
pub fn key_part(name: &str) -> String {
    if is_name(name) { name.to_owned() } else { format!("{name:?}") }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether a text is an http or https URL that paths can be added to.
fn is_base_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http"))
            && uri.query().is_none()
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// One region on its own, and beside those before it.
fn check_region(name: &str, region: &RegionSettings, earlier: &[Region], problems: &mut Problems) {
    let key = format!("regions.{}", key_part(name));
    if !is_name(name) {
        problems.add(
            &key,
            "region_name_invalid",
            format!("`{name}` is not a region name"),
            "use letters, digits, `-` and `_`",
        );
    }
    if !region.letter.is_ascii_alphanumeric() {
        problems.add(
            format!("{key}.letter"),
            "region_letter_invalid",
            format!("`{}` is not one of A-Z a-z 0-9", region.letter),
            "choose a letter or digit",
        );
    }
    if let Some(other) = earlier.iter().find(|other| other.letter == region.letter) {
        problems.add(
            format!("{key}.letter"),
            "region_letter_taken",
            format!("region `{}` has the letter `{}` too", other.name, region.letter),
            "give each region a letter of its own",
        );
    }
    let base_url = region.base_url.trim_end_matches('/');
    if !base_url.is_empty() && !is_base_url(base_url) {
        problems.add(
            format!("{key}.base_url"),
            "base_url_invalid",
            format!("`{base_url}` is not an http or https URL, or has a query"),
            "write for example `https://api.example.com`",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(letter: char) -> RegionSettings {
        RegionSettings {
            letter,
            base_url: "https://api.example.com/".into(),
            upstreams: vec!["http://127.0.0.1:1".into()],
            redis: UrlText::default(),
        }
    }

    fn check(
        regions: &[(&str, RegionSettings)],
        mode: ModeSetting,
        own: &str,
    ) -> Result<Places, Vec<&'static str>> {
        let regions: Vec<_> =
            regions.iter().map(|(name, region)| ((*name).to_owned(), region.clone())).collect();
        let mut problems = Problems::new();
        let settings = Settings { mode, region: own.to_owned() };
        Places::from_settings(&regions, &settings, &mut problems)
            .ok_or_else(|| problems.0.iter().map(|problem| problem.code).collect())
    }

    #[test]
    fn mistakes_are_told() {
        let two = [("us", region('u')), ("eu", region('u'))];
        assert_eq!(check(&two, ModeSetting::Route, "").unwrap_err(), ["region_letter_taken"]);
        assert_eq!(
            check(&[("u s", region('-'))], ModeSetting::Route, "").unwrap_err(),
            ["region_name_invalid", "region_letter_invalid"]
        );
        assert_eq!(check(&[("us", region('u'))], ModeSetting::Fence, "").unwrap_err(), ["region_unknown"]);
        assert_eq!(check(&[], ModeSetting::Route, "").unwrap_err(), ["regions_empty"]);
        for base_url in ["api.example.com", "https://", "ftp://a", "https://a b", "https://a/?b"] {
            let wrong = RegionSettings { base_url: base_url.into(), ..region('u') };
            assert_eq!(check(&[("us", wrong)], ModeSetting::Route, "").unwrap_err(), ["base_url_invalid"]);
        }
        let nowhere = RegionSettings { base_url: String::new(), ..region('u') };
        let two = [("us", nowhere), ("eu", region('e'))];
        assert_eq!(check(&two, ModeSetting::Fence, "eu").unwrap_err(), ["base_url_missing"]);
        assert!(check(&two, ModeSetting::Fence, "us").is_ok(), "a caller is never sent to the own region");
        assert_eq!(check(&[("us", region('u'))], ModeSetting::Route, "eu").unwrap_err(), ["region_unknown"]);
    }

    #[test]
    fn a_fence_serves_its_own_region_only() {
        let two = [("us", region('u')), ("eu", region('e'))];
        let fence = check(&two, ModeSetting::Fence, "eu").unwrap();
        assert_eq!(fence.serves(RegionId(0)), Err(WrongRegion(RegionId(0))));
        assert_eq!(fence.serves(RegionId(1)), Ok(()));
        let route = check(&two, ModeSetting::Route, "").unwrap();
        assert_eq!(route.serves(RegionId(1)), Ok(()));
        assert_eq!(&*route.regions().region(RegionId(0)).base_url, "https://api.example.com");
    }
}
