"""One self-contained HTML page about one or several runs (`sc report`).

`data` collects what it shows as plain values: tables as they are or thinned out, `measured` what the checkpoints tell,
`matrices` the distances between neurons in few bytes, `compressed` what compression costs. `page` puts these values
into template.html with report.css, charts.js and report.js inline; the scripts draw everything from them.
"""

from .data import collect
from .page import write_page, write_report, write_weights_report

__all__ = ["collect", "write_page", "write_report", "write_weights_report"]
