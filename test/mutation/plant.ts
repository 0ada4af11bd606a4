/** Before each file of tests: puts the fault that the environment names into its machine. */
import { type Mutant, plant } from './mutant.ts';

const text = process.env.LONGTAIL_MUTANT;
if (text === undefined) throw new Error('LONGTAIL_MUTANT names no fault');
const mutant: Mutant = JSON.parse(text);
plant(mutant);
