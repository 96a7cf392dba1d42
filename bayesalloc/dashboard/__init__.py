"""The dashboard: one file a page, over the same functions as the command line.

`app.py` is what Streamlit runs. A page simulates forward at most, on the numbers that its sliders show; whatever
samples or trains runs as a job, in a process of its own.
"""
