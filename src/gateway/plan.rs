//! A configuration, compiled: everything that all workers share and nobody changes.
//!
//! Built once for each deploy, off the workers, since the rules' database takes a while. Exchanges
//! hold on to the plan they began with.

use crate::base::ask::Dialect;
use crate::base::clock::Wall;
use crate::base::map::Map;
use crate::config::model::{Config, McpServer, Model};
use crate::gateway::clear::OWN_RULES;
use crate::gateway::host::Host;
use crate::gateway::judge::rule_name;
use crate::gateway::pressure::Pressure;
use crate::guard::pack::PackFault;
use crate::guard::rules::Rules;
use crate::guard::vault::MaskKey;
use crate::identity::keys::KeyTable;
use crate::limits::ledger::Ledger;
use crate::mcp::session::Seal;
use crate::policy::rules::Policy;
use crate::telemetry::labels::{Labels, Names};
use crate::wire::certificates::{client_config, server_config, shown_until};
use crate::wire::tls::TlsFault;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// A compiled configuration.
#[derive(Debug)]
pub struct Plan {
    /// Counts deploys from one.
    pub generation: u64,
    /// What it was compiled from.
    pub config: Config,
    /// Gate *Caller*.
    pub keys: KeyTable,
    /// Gate *Permit*.
    pub policy: Policy,
    /// Gate *Lease*: what the callers have left, shared by all workers.
    pub ledger: Arc<Ledger>,
    /// Gate *Cleared*.
    pub rules: Arc<Rules>,
    /// What masked values are named with.
    pub mask_key: MaskKey,
    /// Seals MCP sessions; the key lives as long as the process.
    pub seal: Arc<Seal>,
    /// Whether memory is short; one for the life of the process.
    pub pressure: Arc<Pressure>,
    /// The names that metrics may show.
    pub labels: Arc<Labels>,
    /// TLS of each listener.
    pub listener_tls: Vec<Option<Arc<ServerConfig>>>,
    /// What the listeners show.
    pub certificates: Vec<Certificate>,
    /// TLS of each target.
    pub target_tls: Vec<Option<Arc<ClientConfig>>>,
    /// The models of judges that run on this machine.
    pub hosts: Vec<Option<Host>>,
    models: Map<Arc<str>, usize>,
    servers: Map<Arc<str>, usize>,
}

/// A certificate that a listener shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The listener's address.
    pub listener: String,
    /// The file that it is in, with its chain.
    pub file: String,
    /// When the first of that chain ends; none where that cannot be read.
    pub until: Option<Wall>,
}

/// Why a checked configuration could not be compiled.
#[derive(Debug)]
pub enum PlanFault {
    /// The model of that judge cannot run, and why.
    Model(Arc<str>, String),
    /// A rule pack does not compile.
    Pack(PackFault),
    /// A certificate, key or authority file is unfit; of which listener or upstream.
    Tls(String, TlsFault),
}

impl Plan {
    /// Compiles a configuration; the ledger goes on from the plan before it.
    pub fn compile(
        config: Config,
        seal: Arc<Seal>,
        before: Option<&Self>,
    ) -> Result<Self, PlanFault> {
        let rules = Arc::new(Rules::compile(&config.guard).map_err(PlanFault::Pack)?);
        let mask_key = match &config.guard.mask_key {
            Some(secret) => MaskKey::new(secret.expose()),
            None => MaskKey::new(seal.derive(b"ringwall mask key").expose()),
        };
        let listener_tls = config
            .listeners
            .iter()
            .map(|listener| {
                let tls = listener.tls.as_ref().map(server_config).transpose();
                tls.map_err(|fault| PlanFault::Tls(listener.address.to_string(), fault))
            })
            .collect::<Result<_, _>>()?;
        let target_tls = config
            .targets
            .iter()
            .map(|target| {
                let tls = target.tls.as_ref().map(client_config).transpose();
                tls.map_err(|fault| PlanFault::Tls(target.name.to_string(), fault))
            })
            .collect::<Result<_, _>>()?;
        let hosts = config
            .judges
            .iter()
            .map(|judge| {
                let model = judge.local.as_ref();
                let host = model.map(|model| Host::start(&judge.name, model)).transpose();
                host.map_err(|fault| PlanFault::Model(Arc::clone(&judge.name), fault))
            })
            .collect::<Result<_, _>>()?;
        let models = index(config.models.iter().map(|model| Arc::clone(&model.name)));
        let servers = index(config.mcp_servers.iter().map(|server| Arc::clone(&server.name)));
        Ok(Self {
            generation: before.map_or(1, |plan| plan.generation + 1),
            pressure: before.map_or_else(Arc::default, |plan| Arc::clone(&plan.pressure)),
            keys: KeyTable::new(&config.callers),
            policy: Policy::new(&config.rules),
            ledger: ledger(&config, before),
            labels: Arc::new(labels(&config, &rules)),
            rules,
            mask_key,
            seal,
            certificates: shown(&config),
            listener_tls,
            target_tls,
            hosts,
            models,
            servers,
            config,
        })
    }

    /// The model of that public name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(name).and_then(|index| self.config.models.get(*index))
    }

    /// Whether some provider of a model speaks a dialect.
    pub fn speaks(&self, model: &Model, dialect: Dialect) -> bool {
        model.routes.iter().any(|route| self.target_speaks(route.target, dialect))
    }

    /// Whether a target speaks a dialect.
    pub fn target_speaks(&self, target: usize, dialect: Dialect) -> bool {
        self.config.targets.get(target).is_some_and(|entry| entry.dialects.contains(&dialect))
    }

    /// The MCP server of that name.
    pub fn server(&self, name: &str) -> Option<&McpServer> {
        self.servers.get(name).and_then(|index| self.config.mcp_servers.get(*index))
    }
}

fn shown(config: &Config) -> Vec<Certificate> {
    let listeners = config.listeners.iter();
    let shown = listeners.flat_map(|listener| {
        let all = listener.tls.iter().flat_map(|tls| &tls.certificates);
        all.map(|one| Certificate {
            listener: listener.address.to_string(),
            file: one.pair.certificate.display().to_string(),
            until: shown_until(&one.pair),
        })
    });
    shown.collect()
}

fn ledger(config: &Config, before: Option<&Plan>) -> Arc<Ledger> {
    let limits: Vec<_> =
        config.callers.iter().map(|entry| (Arc::clone(&entry.caller.name), entry.limits)).collect();
    Arc::new(match before {
        Some(plan) => Ledger::succeed(&plan.ledger, &limits),
        None => Ledger::named(&limits),
    })
}

fn labels(config: &Config, rules: &Rules) -> Labels {
    let policy = config.rules.iter().map(|rule| Arc::clone(&rule.name));
    let judges = (0..config.judges.len()).map(|index| rule_name(config, index));
    let own = OWN_RULES.map(Arc::from);
    let rules = rules.names().map(Arc::clone).chain(policy).chain(judges).chain(own);
    Labels {
        models: Names::new(config.models.iter().map(|model| Arc::clone(&model.name))),
        rules: Names::new(rules),
        targets: config.targets.iter().map(|target| Arc::clone(&target.name)).collect(),
    }
}

fn index(names: impl Iterator<Item = Arc<str>>) -> Map<Arc<str>, usize> {
    names.enumerate().map(|(index, name)| (name, index)).collect()
}

impl fmt::Display for PlanFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(name, fault) => write!(out, "the judge `{name}`: {fault}"),
            Self::Pack(fault) => write!(out, "the guard's rules do not compile: {fault}"),
            Self::Tls(whose, fault) => write!(out, "TLS of {whose}: {fault}"),
        }
    }
}

impl std::error::Error for PlanFault {}
