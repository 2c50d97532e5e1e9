"""Code review: what is asked about code, how an answer is read, and how findings are published.

categories    the closed list of faults that may be reported
prompts       review, verification and escalation; the code is data in all of them
answers       an answer to findings; what does not stand is dropped and counted
findings      the records, and merging over the pieces of one item
verification  yes/no claims, and how sure the review of an item is
fingerprints  what names a finding when its line has moved
tables        findings.arrow
evaluation    precision, recall and F1 against labelled faults
publication/  one later stage: which findings are reported, and SARIF, Markdown, baseline
"""
