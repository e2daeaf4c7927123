"""vidlstm: action recognition in people's own videos, a CNN read in order by an LSTM.

The package root imports nothing heavy, so that `vidlstm --help` answers at once.
"""

__version__ = "0.1.0"
