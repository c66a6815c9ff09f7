//! What remains of a user agent: the family and its major version. The rest (build, device, fonts)
//! tells one person's machine from the next.

/// Products by the word that gives them away, the most particular first: Edge says it is Chrome,
/// and Chrome says it is Safari.
const FAMILIES: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "HeadlessChrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// The longest name of a product that is kept: `Mozilla` has seven letters, bots have twenty.
const PRODUCT_BYTES_MAX: usize = 40;

/// `Family/major`, or the first product where no browser is known.
pub(super) fn reduced(agent: &str) -> String {
    for (word, family) in FAMILIES {
        if let Some(at) = agent.find(word) {
            return format!("{family}/{}", major(&agent[at + word.len()..]));
        }
    }
    let (product, version) = agent.trim().split_once('/').unwrap_or((agent, ""));
    let is_name = |letter: &char| letter.is_ascii_alphabetic() || matches!(letter, '-' | '_');
    let product: String = product.chars().take_while(is_name).take(PRODUCT_BYTES_MAX).collect();
    match (product.as_str(), major(version)) {
        ("", _) => String::from("unknown"),
        (_, "") => product,
        (_, major) => format!("{product}/{major}"),
    }
}

/// Whether a user agent is a browser's, as it came or reduced. Every browser's begins with `Mozilla/`,
/// and hardly any program's.
pub(super) fn is_browser(agent: &str) -> bool {
    let product = agent.split('/').next().unwrap_or(agent);
    product == "Mozilla" || FAMILIES.iter().any(|(_, family)| *family == product)
}

/// At most four digits: no product has counted further, and more could be a number that names.
fn major(version: &str) -> &str {
    let end = version.bytes().take(4).take_while(u8::is_ascii_digit).count();
    &version[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_one_after_it_was_reduced() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.6478.126 Safari/537.36";
        let samsung = "Mozilla/5.0 (Linux; Android 13) SamsungBrowser/23.0 Chrome/115.0";
        let programs = ["okhttp/4.12.0", "curl", "", "ChromeCrawler/1.0"];
        for (agent, expected) in [chrome, samsung]
            .map(|agent| (agent, true))
            .into_iter()
            .chain(programs.map(|agent| (agent, false)))
        {
            assert_eq!(is_browser(agent), expected, "{agent}");
            assert_eq!(is_browser(&reduced(agent)), expected, "{agent}, reduced");
        }
    }

    #[test]
    fn family_and_major() {
        let mozilla = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, expected) in [
            (format!("{mozilla} Chrome/126.0.6478.126 Safari/537.36"), "Chrome/126"),
            (format!("{mozilla} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87"), "Edge/126"),
            (format!("{mozilla} Version/17.5 Safari/605.1.15"), "Safari/17"),
            (String::from("Mozilla/5.0 (Android; SM-G991B) Gecko Firefox/127.0"), "Firefox/127"),
            (String::from("okhttp/4.12.0"), "okhttp/4"),
            (String::from("Go-http-client/2.0"), "Go-http-client/2"),
            (String::from("jane@shop.example"), "jane"),
            (String::from("curl"), "curl"),
            (String::from("203.0.113.9"), "unknown"),
            (String::from("Chrome/126"), "Chrome/126"),
            (String::new(), "unknown"),
            (String::from("é/ü"), "unknown"),
        ] {
            assert_eq!(reduced(&agent), expected, "{agent}");
            assert_eq!(reduced(expected), expected);
        }
    }
}
