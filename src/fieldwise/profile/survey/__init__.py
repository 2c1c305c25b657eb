"""What is in a raw log, before anything is trained: every column counted in one pass, and what follows from the counts.

One accumulator per column (`profile.survey.column`) takes the log chunk by chunk. It keeps, for every value, how many
rows of each class and each part have it; from these counts alone come the distinct and the most frequent values, the
AUC of the field alone, and the drift from training to test. `profile.survey.findings` derives warnings from them.
"""
