//! curl.

use super::{fails, seal, succeeds, with_source};

/// Serves the folder `source` until the shell ends.
const SERVER: &str = "coproc SERVER { exec python3 -u -m http.server --bind 127.0.0.1 --directory \
    source 0 2> /dev/null; }; \
    trap 'kill $SERVER_PID' EXIT; read -r line <&${SERVER[0]}; \
    url=http://127.0.0.1:$(expr \"$line\" : '.* port \\([0-9]*\\)')";

#[test]
fn curl_stores_what_it_fetches() {
    let home = with_source();
    succeeds(
        &home,
        &format!(
            "{SERVER}; cd m/t; curl -s -S -f -o long $url/long; curl -sSfR -O $url/short; \
        curl -sSf $url/empty > empty; curl -sSf --create-dirs -o d/long -C - $url/long; \
        curl -sSf --no-clobber -o long $url/short; ls"
        ),
        "d\nempty\nlong\nlong.1\nshort\n",
    );
    succeeds(
        &home,
        "cmp source/long m/t/long; cmp source/long m/t/d/long; cmp source/short m/t/long.1; \
        stat -c '%s %Y' m/t/short m/t/empty | head -n 1; stat -c %s m/t/empty",
        "6 946684799\n0\n",
    );
    // Refused, and nothing stored, when there is nothing to fetch or the name is taken.
    fails(&home, &format!("{SERVER}; curl -sSf -o m/t/none $url/none"), 22, "curl: (22)");
    succeeds(&home, "ls m/t", "d\nempty\nlong\nlong.1\nshort\n");
    let taken = "curl: (23) Failure writing output to destination";
    fails(&home, "curl -sSf -o m/t/long file://$PWD/source/short", 23, taken);
    // A part that was stored is not continued: its bytes are fixed.
    home.sh("head -c 1000 source/long > m/t/part");
    fails(&home, &format!("{SERVER}; curl -sSf -C - -o m/t/part $url/long"), 23, "curl: (23)");
    seal(&home, "t", &["long"]);
    fails(&home, "curl -sSf -o m/t/long file://$PWD/source/short", 23, taken);
    succeeds(
        &home,
        "curl -sSf -o m/t/file file://$PWD/source/long; cmp source/long m/t/file; cmp source/long m/t/long",
        "",
    );
}
