//! Checks by their name in a pack, that say yes or no to the whole of a match.

use crate::guard::{dates, ids_europe, ids_world, secrets};

/// A check by its name.
pub type Named = (&'static str, fn(&str) -> bool);

/// All of them, in order.
pub const NAMED: &[Named] = &[
    ("aadhaar", ids_world::aadhaar),
    ("aba", ids_world::aba),
    ("abn", ids_world::abn),
    ("acn", ids_world::acn),
    ("ahv", ids_europe::ahv),
    ("amka", ids_europe::amka),
    ("ausweis", ids_europe::ausweis),
    ("bic", dates::bic),
    ("brn", ids_world::brn),
    ("bsn", ids_europe::bsn),
    ("card_number", ids_world::card_number),
    ("ci_ec", ids_world::ci_ec),
    ("cnp", ids_europe::cnp),
    ("cnpj", ids_world::cnpj),
    ("codice_fiscale", ids_europe::codice_fiscale),
    ("cpf", ids_world::cpf),
    ("cpr", ids_europe::cpr),
    ("cuit", ids_world::cuit),
    ("curp", ids_world::curp),
    ("date", dates::date),
    ("dea", ids_world::dea),
    ("digits", secrets::digits),
    ("egn", ids_europe::egn),
    ("ein", ids_world::ein),
    ("emso", ids_europe::emso),
    ("encoded", secrets::encoded),
    ("epic", ids_world::epic),
    ("eth", dates::eth),
    ("expiry", dates::expiry),
    ("fodselsnummer", ids_europe::fodselsnummer),
    ("gstin", ids_world::gstin),
    ("hetu", ids_europe::hetu),
    ("hkid", ids_world::hkid),
    ("id_il", ids_world::id_il),
    ("id_tw", ids_world::id_tw),
    ("id_za", ids_world::id_za),
    ("imei", ids_world::imei),
    ("inn", ids_europe::inn),
    ("ipv6", dates::ipv6),
    ("ird", ids_world::ird),
    ("isikukood", ids_europe::isikukood),
    ("isin", ids_world::isin),
    ("itin", ids_world::itin),
    ("jwt_base64", secrets::jwt_base64),
    ("kennitala", ids_europe::kennitala),
    ("lanr", ids_europe::lanr),
    ("lei", ids_world::lei),
    ("mbi", ids_world::mbi),
    ("medicare", ids_world::medicare),
    ("mixed", secrets::mixed),
    ("my_number", ids_world::my_number),
    ("nhs", ids_europe::nhs),
    ("nif", ids_europe::nif),
    ("nif_pt", ids_europe::nif_pt),
    ("nik", ids_world::nik),
    ("nino", ids_europe::nino),
    ("nip", ids_europe::nip),
    ("nir", ids_europe::nir),
    ("not_template", secrets::not_template),
    ("npi", ids_world::npi),
    ("nric_my", ids_world::nric_my),
    ("nric_sg", ids_world::nric_sg),
    ("oib", ids_europe::oib),
    ("pan", ids_world::pan),
    ("partita_iva", ids_europe::partita_iva),
    ("personnummer", ids_europe::personnummer),
    ("pesel", ids_europe::pesel),
    ("phone_local", dates::phone_local),
    ("pin_th", ids_world::pin_th),
    ("plate", dates::plate),
    ("pps", ids_europe::pps),
    ("random", secrets::random),
    ("regon", ids_europe::regon),
    ("ric", ids_world::ric),
    ("rntrc", ids_europe::rntrc),
    ("rodne_cislo", ids_europe::rodne_cislo),
    ("rrn", ids_world::rrn),
    ("rrn_be", ids_europe::rrn_be),
    ("rut", ids_world::rut),
    ("rvnr", ids_europe::rvnr),
    ("sentry", secrets::sentry),
    ("sin", ids_world::sin),
    ("siren", ids_europe::siren),
    ("snils", ids_europe::snils),
    ("steuer_id", ids_europe::steuer_id),
    ("tckn", ids_world::tckn),
    ("tfn", ids_world::tfn),
    ("uscc", ids_world::uscc),
    ("utr", ids_europe::utr),
    ("vin", ids_world::vin),
    ("vnr", ids_europe::vnr),
];

/// The index of the check of that name.
pub fn find(name: &str) -> Option<usize> {
    NAMED.binary_search_by_key(&name, |(own, _)| *own).ok()
}

#[cfg(test)]
mod tests {
    use super::{NAMED, find};

    #[test]
    fn every_check_is_found_by_its_name_and_no_other() {
        for (index, (name, _)) in NAMED.iter().enumerate() {
            assert_eq!(find(name), Some(index), "{name}");
        }
        assert_eq!(find("luck"), None);
    }

    #[test]
    fn no_check_accepts_nothing_or_panics_on_odd_text() {
        for (name, check) in NAMED {
            for text in ["", "é", "-", "ééééééééé1", "\u{0}", "１２３４５６７８９"]
            {
                let accepted = check(text);
                assert!(!accepted || *name == "not_template", "{name}: {text}");
            }
        }
    }
}
